// Takes over the theme of the Airflow around it. Loaded before anything is painted, so that nothing flashes.
(() => {
  const root = document.documentElement;
  // Chakra UI's names for Airflow's colours, and ours. An administrator may have given Airflow other ones.
  const colours = {
    "bg": "--bg",
    "bg-subtle": "--bg-subtle",
    "bg-muted": "--bg-muted",
    "fg": "--fg",
    "fg-muted": "--fg-muted",
    "border": "--border",
    "border-emphasized": "--border-strong",
  };

  function outside() {
    try {
      return window.parent !== window ? window.parent.document.documentElement : null;
    } catch {
      return null; // shown by a page of another origin
    }
  }

  function isDark(airflow) {
    if (airflow && (airflow.classList.contains("dark") || airflow.classList.contains("light"))) {
      return airflow.classList.contains("dark");
    }
    let chosen = null;
    try {
      chosen = localStorage.getItem("theme"); // where Airflow keeps it
    } catch {
      // no storage: as the system is
    }
    return chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  function apply() {
    const airflow = outside();
    root.dataset.theme = isDark(airflow) ? "dark" : "light";
    const given = airflow ? getComputedStyle(airflow) : null;
    for (const [theirs, ours] of Object.entries(colours)) {
      const value = given ? given.getPropertyValue(`--chakra-colors-${theirs}`).trim() : "";
      if (value) {
        root.style.setProperty(ours, value);
      } else {
        root.style.removeProperty(ours);
      }
    }
    const body = airflow?.querySelector("body");
    if (body) root.style.setProperty("--font", getComputedStyle(body).fontFamily);
  }

  apply();
  const airflow = outside();
  if (airflow) {
    const seen = new MutationObserver(apply);
    seen.observe(airflow, { attributeFilter: ["class", "style", "data-theme"] });
    addEventListener("pagehide", () => seen.disconnect());
  }
  addEventListener("storage", apply);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
})();

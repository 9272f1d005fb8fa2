// New jobs of all items of a batch, or of all that failed or are unknown: a person types how many, and sees the price.
import { count, errorText, icon, make } from "./common.js";

const UNKNOWN = "unknown";

export class Regenerate {
  /**
   * @param address of the server's part of it
   * @param given called when the task was cleared, or may have been
   */
  constructor(address, given) {
    Object.assign(this, { address, given, busy: false, offer: null });
    this.opener = this.button("Make items again", () => this.open());
    this.body = make("div", { class: "steps" });
    this.alert = make("p", { class: "said wrong", role: "alert", id: "regenerate-wrong" });
    this.status = make("p", { class: "said", role: "status", tabindex: "-1" });
    this.element = make("section", {
      class: "recovery", "aria-label": "Make items again", tabindex: "-1",
      keydown: (event) => { if (event.key === "Escape") this.close(); },
    }, this.body, this.alert, this.status);
  }

  /** Offer it where the task has ended and has items. */
  show(isOffered) {
    this.opener.hidden = !isOffered;
    if (!isOffered) this.body.replaceChildren();
  }

  button(words, click, kind = "") {
    return make("button", { type: "button", class: `button ${kind}`, click: () => { if (!this.busy) click(); } }, words);
  }

  async open() {
    this.setBusy("The batch's records are being read.");
    try {
      const response = await fetch(this.address, { headers: { accept: "application/json" } });
      this.setBusy(null);
      if (!response.ok) return this.fail(response.status === 403 ? "You may not clear this task." : await errorText(response));
      this.offer = await response.json();
    } catch {
      this.setBusy(null);
      return this.fail("The API server cannot be reached.");
    }
    const { refusal, failed, all } = this.offer;
    if (refusal) return this.fail(refusal);
    const choices = [
      failed.count && failed.count < all.count ? this.button(`The ${count(failed.count, "item")} that failed or are unknown`, () => this.ask("failed")) : null,
      all.count ? this.button(`All ${count(all.count, "item")}`, () => this.ask("all")) : null,
    ];
    this.body.replaceChildren(
      make("p", {}, all.count ? "Which items are to be made and paid for again?" : "No item of this task can be made again now."),
      make("div", { class: "row" }, ...choices, this.button("Cancel", () => this.close())),
    );
    this.element.focus();
  }

  ask(which) {
    const { words, count: number, price } = this.offer[which];
    const field = make("input", {
      id: "regenerate-count", type: "text", inputmode: "numeric", autocomplete: "off", maxlength: "12", "aria-describedby": "regenerate-wrong",
    });
    const give = () => {
      if (field.value.replace(/\D/g, "") === String(number)) return this.give(which);
      this.fail(`Type ${number}, the number of items.`);
      field.setAttribute("aria-invalid", "true");
      return field.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) give();
    });
    const known = price.split("+")[0];
    const pay = known === UNKNOWN ? "Pay a price that is not known"
      : `Pay about ${count(Number(known), "credit")}${price === known ? "" : " and what is not known"}`;
    this.alert.textContent = "";
    this.body.replaceChildren(make("div", { class: "question", role: "group", "aria-labelledby": "regenerate-words" },
      make("p", { id: "regenerate-words" }, icon("failed"), make("span", {}, words)),
      make("label", { for: field.id }, `To confirm, type the number of items: ${number}`),
      make("div", { class: "row" }, field, this.button(pay, give, "primary"), this.button("Cancel", () => this.close()))));
    field.focus();
  }

  async give(which) {
    const { count: number, price, replaces } = this.offer[which];
    this.setBusy("The task is being cleared.");
    try {
      const response = await fetch(this.address, {
        method: "POST",
        headers: { accept: "application/json", "content-type": "application/json" },
        body: JSON.stringify({ which, count: number, price, replaces }),
      });
      const answer = await response.clone().json().catch(() => ({}));
      this.setBusy(null);
      if (!response.ok) return this.fail(await errorText(response));
      this.body.replaceChildren();
      this.status.textContent = answer.message ?? "The task was cleared.";
      this.status.focus(); // what had the focus is gone
    } catch {
      this.setBusy(null);
      this.fail("The API server did not respond. Before you try again, see whether the task was cleared.");
    }
    return this.given();
  }

  close() {
    if (!this.body.children.length) return;
    this.body.replaceChildren();
    this.alert.textContent = "";
    this.opener.focus();
  }

  setBusy(words) {
    this.busy = words !== null;
    this.element.setAttribute("aria-busy", String(this.busy));
    this.status.textContent = words ?? "";
    if (words) this.alert.textContent = "";
  }

  fail(words) {
    this.alert.textContent = words;
  }
}

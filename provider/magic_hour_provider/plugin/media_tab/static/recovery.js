// The way back by hand: the job that a lost response belongs to, or a new one. Confirmations are part of the page, as a
// tab may open no dialogs, and nothing here is a form that is submitted, as its sandbox may not allow that.
import { copyButton, count, errorText, icon, make, moment } from "./common.js";

let made = 0;

export class Recovery {
  /**
   * @param element what it is drawn in
   * @param address of the server's part of it
   * @param given called when the server has cleared the task, or may have: its details are to be read again
   */
  constructor(element, address, given) {
    this.element = element;
    this.address = address;
    this.given = given;
    this.busy = false;
    this.drawn = null;
    this.field = null;
    this.id = `recovery-${made++}`; // begins the ids of its elements: a page may have several
    this.body = make("div", { class: "steps" });
    this.question = make("div", {
      class: "question", role: "group", tabindex: "-1", "aria-labelledby": `${this.id}-question`, hidden: true,
      keydown: (event) => {
        if (event.key !== "Escape") return;
        event.preventDefault(); // a dialog around it stays open
        this.close();
      },
    });
    this.status = make("p", { class: "said", role: "status", tabindex: "-1" });
    this.alert = make("p", { class: "said wrong", role: "alert", id: `${this.id}-wrong` });
    element.replaceChildren(this.body, this.question, this.alert, this.status);
  }

  get isOffered() {
    return this.drawn !== null;
  }

  /** Ask the server what is possible, and show it; whoever has no right to clear the task sees nothing. */
  async offer() {
    const situation = await this.read();
    const data = JSON.stringify(situation);
    this.status.textContent = ""; // the task has ended since
    if (data === this.drawn) return; // what somebody has typed stays
    this.drawn = data;
    this.close();
    const { possible, refusal, lost, job, others } = situation ?? {};
    if (lost) this.body.replaceChildren(...this.search(lost), ...(possible ? this.choices() : [make("p", {}, refusal)]));
    else if (job && possible) this.body.replaceChildren(this.button("Make a new one", () => this.confirmNew()));
    else if (job && refusal) this.body.replaceChildren(make("p", { class: "muted" }, refusal));
    else this.body.replaceChildren();
    if (possible && others) this.body.append(make("p", { class: "muted" }, `The task is cleared for it. ${others}`));
    this.element.hidden = !lost && !job && !this.alert.textContent;
    this.element.classList.toggle("lost", Boolean(lost));
    this.element.classList.toggle("offered", Boolean(lost && possible));
  }

  /** Take it away while the task is under way. What was said last stays. */
  withdraw() {
    if (this.drawn === null) return;
    this.drawn = null;
    this.close();
    this.body.replaceChildren();
    this.element.classList.remove("lost", "offered");
  }

  async read() {
    try {
      const response = await fetch(this.address, { headers: { accept: "application/json" } });
      if (response.ok) return (this.situation = await response.json());
      if (![401, 403, 404].includes(response.status)) this.fail(await errorText(response));
    } catch {
      // the API server cannot be reached: the page without it says as much as it did before
    }
    return null;
  }

  // What there is to do

  search(lost) {
    const copied = (text, shown, what) => make("span", { class: "copied" }, make("code", {}, shown), copyButton(text, what, { bare: true }));
    const rows = [
      ["Where", lost.library_url && copied(lost.library_url, lost.library_url, "Copy link")],
      ["Tag", lost.tag && copied(lost.tag, `#${lost.tag}`, "Copy tag")],
      ["Name", lost.name],
      ["Sent", lost.written_at && make("time", { datetime: new Date(lost.written_at * 1000).toISOString() }, moment(lost.written_at))],
      ["Tool", lost.title ?? lost.tool],
    ].filter(([, value]) => value);
    return [
      make("h2", {}, "Is there a job? Look for it in your library"),
      make("dl", { class: "values" }, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    ];
  }

  choices() {
    const field = this.field = make("input", {
      id: `${this.id}-job`, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "500",
      "aria-describedby": `${this.id}-wrong`,
    });
    const adopt = () => {
      const job = field.value.trim();
      if (job) return this.give("adopt", { job });
      this.fail("Paste the id of the job, or its address in the library.");
      return field.focus();
    };
    field.addEventListener("input", () => field.removeAttribute("aria-invalid"));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      adopt();
    });
    return [
      make("label", { for: field.id }, "Id of the job, or its address in the library"),
      make("div", { class: "row" }, field, this.button("Go on with this job", adopt, "primary")),
      make("div", { class: "row" }, this.button("It is not there: make a new one", () => this.confirmNew())),
    ];
  }

  button(words, click, kind = "") {
    return make("button", { type: "button", class: `button ${kind}`, click: () => { if (!this.busy) click(); } }, words);
  }

  // Confirmations

  confirmNew() {
    const { price, lost } = this.situation;
    const known = Number.isFinite(price);
    const cost = known ? `The last one cost ${count(price, "credit")}.` : "What it costs is not known here.";
    const twice = lost ? "If the lost request has made a job after all, both are paid for." : "The files of the present one stay where they are.";
    this.ask(`A new job is paid for. ${cost} ${twice}`, known ? `Pay about ${count(price, "credit")}` : "Pay for a new job", () => this.give("regenerate"));
  }

  ask(words, yes, action) {
    const origin = document.activeElement;
    this.origin = this.element.contains(origin) && !this.question.contains(origin) ? origin : this.origin;
    this.alert.textContent = "";
    this.question.replaceChildren(
      make("p", { id: `${this.id}-question` }, icon("failed"), make("span", {}, words)),
      make("div", { class: "row" }, this.button(yes, action, "primary"), this.button("Cancel", () => this.close())),
    );
    this.question.hidden = false;
    this.question.focus();
  }

  close() {
    if (this.question.hidden) return;
    const focused = this.question.contains(document.activeElement);
    this.question.hidden = true;
    this.question.replaceChildren();
    if (focused) this.origin?.focus();
  }

  // Its instruction

  async give(action, { job = null, confirmedTag = null } = {}) {
    this.setBusy(action === "adopt" ? "The job is being checked." : "The task is being cleared.");
    let changed = false;
    try {
      const { replaces } = this.situation;
      const response = await fetch(this.address, {
        method: "POST",
        headers: { accept: "application/json", "content-type": "application/json" },
        body: JSON.stringify({ action, job, replaces, confirmed_tag: confirmedTag }),
      });
      const answer = await response.clone().json().catch(() => ({}));
      this.setBusy(null);
      if (response.ok) this.done(answer.message ?? "The task was cleared.");
      else if (answer.confirm_tag) this.confirmTag(answer, job);
      else this.fail(await errorText(response), response.status === 400 ? this.field : null);
      changed = response.ok || (response.status === 409 && !answer.confirm_tag);
    } catch {
      this.setBusy(null);
      this.fail("The API server did not respond. Before you try again, see whether the task was cleared.");
      changed = true;
    }
    if (changed) this.given();
  }

  confirmTag({ detail, confirm_tag: tag }, job) {
    this.ask(detail, `Use the job tagged #${tag}`, () => this.give("adopt", { job, confirmedTag: tag }));
  }

  setBusy(words) {
    this.busy = words !== null;
    this.element.setAttribute("aria-busy", String(this.busy));
    this.status.textContent = words ?? "";
    if (words) this.alert.textContent = "";
  }

  done(message) {
    this.withdraw();
    this.status.textContent = message;
    this.status.focus(); // what had the focus is gone
  }

  fail(words, wrong = null) {
    this.close();
    this.alert.textContent = words;
    wrong?.setAttribute("aria-invalid", "true");
    wrong?.focus();
  }
}

// What the page does beside htmx: times in the reader's zone, the dialog of an action, the live tail of a log. Everything
// works without it, too, but for what is live.
"use strict";

// -- times ------------------------------------------------------------------------------------------------------------

const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [Infinity, 86400, "d"]];

function ago(seconds) {
  if (seconds < 2) return "just now";
  const [, unit, name] = STEPS.find(([limit]) => seconds < limit);
  return `${Math.floor(seconds / unit)} ${name} ago`;
}

function showTimes(root) {
  for (const element of root.querySelectorAll("time")) {
    const at = new Date(element.dateTime);
    const local = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    const text = "ago" in element.dataset ? ago((Date.now() - at) / 1000) : local;
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = local;
  }
}

// -- dialogs ----------------------------------------------------------------------------------------------------------

function setUpDialog() {
  const dialog = document.getElementById("dialog");
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "dialog-body") dialog.showModal();
    showTimes(document);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
}

// -- the connection ---------------------------------------------------------------------------------------------------

function setUpStream() {
  const notice = document.getElementById("offline");
  if (!notice) return;
  document.body.addEventListener("htmx:sseError", () => { notice.hidden = false; });
  document.body.addEventListener("htmx:sseOpen", () => { notice.hidden = true; });
  document.body.addEventListener("htmx:sseMessage", () => { notice.hidden = true; });
}

// -- the live tail of a log -------------------------------------------------------------------------------------------

const LONGEST_LOG = 1 << 20; // letters that are kept on the page

class Tail {
  constructor(log) {
    this.log = log;
    this.state = document.getElementById("log-state");
    this.place = log.dataset.place;
    this.wait = 500;
    this.ended = false;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    this.open();
  }

  open() {
    if (this.ended || this.source || document.hidden) return;
    this.source = new EventSource(`${this.log.dataset.stream}?after=${encodeURIComponent(this.place)}`);
    this.source.addEventListener("open", () => { this.wait = 500; this.say("Live"); });
    this.source.addEventListener("more", (event) => this.show(event, false));
    this.source.addEventListener("anew", (event) => this.show(event, true));
    this.source.addEventListener("end", (event) => { this.ended = true; this.close(); this.say(`Ended: ${event.data}`); });
    this.source.addEventListener("error", () => this.again());
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
  }

  again() { // from where we are, as the browser itself would, but also after answers that it gives up on
    this.close();
    this.say("Trying again …");
    window.setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(this.wait * 2, 10000);
  }

  show(event, anew) {
    const told = JSON.parse(event.data);
    const pinned = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    if (anew) this.log.replaceChildren();
    this.log.insertAdjacentHTML("beforeend", told.html); // escaped by the server; nothing else is in it but spans
    while (this.log.textContent.length > LONGEST_LOG && this.log.firstChild !== this.log.lastChild) {
      this.log.firstChild.remove();
      document.getElementById("log-earlier").hidden = false;
    }
    if (anew) document.getElementById("log-earlier").hidden = told.start === 0;
    if (pinned) this.log.scrollTop = this.log.scrollHeight;
    this.place = event.lastEventId;
  }

  say(text) { this.state.textContent = text; }
}

window.addEventListener("DOMContentLoaded", () => {
  showTimes(document);
  window.setInterval(() => showTimes(document), 1000);
  setUpDialog();
  setUpStream();
  const log = document.getElementById("log");
  if (log) {
    log.scrollTop = log.scrollHeight;
    if (log.dataset.stream) new Tail(log);
  }
});

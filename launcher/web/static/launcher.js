// What the page does beside htmx: times in the reader's zone, the dialog of an action, the stream of what changes with the
// live tail of a log. Everything works without it, too, but for what is live.
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
  document.body.addEventListener("htmx:responseError", (event) => { // told on a page of its own, or by the login
    window.location.assign(event.detail.pathInfo.requestPath);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
}

// -- the stream -------------------------------------------------------------------------------------------------------

class Stream { // open only while its tab is looked at: browsers open six connections to a server, whatever the tabs
  constructor(page, log) {
    this.address = page.dataset.stream;
    this.seen = page.dataset.seen; // what the page shows, and the server need not send
    this.log = log;
    this.notice = document.getElementById("offline");
    this.wait = 500;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    if (!("over" in page.dataset)) this.open();
  }

  open() {
    if (this.source || document.hidden) return;
    const address = new URL(this.address, window.location.href);
    address.searchParams.set("seen", this.seen);
    if (this.log) address.searchParams.set("after", this.log.place);
    this.source = new EventSource(address);
    this.source.addEventListener("open", () => { this.wait = 500; this.live(true); });
    this.source.addEventListener("error", () => this.again());
    this.source.addEventListener("seen", (event) => { this.seen = event.data; });
    this.source.addEventListener("end", () => { this.close(); this.log?.end(); });
    for (const part of document.querySelectorAll("[data-part]")) {
      this.source.addEventListener(part.dataset.part, (event) => this.show(part, event.data));
    }
    this.source.addEventListener("more", (event) => this.log?.show(event, false));
    this.source.addEventListener("anew", (event) => this.log?.show(event, true));
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
  }

  again() { // from where we are, as the browser itself would, but also after answers that it gives up on
    this.close();
    this.live(false);
    window.setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(this.wait * 2, 10000);
  }

  show(part, html) {
    this.seen = ""; // until the server says that all of it has come
    window.htmx.swap(part, html, { swapStyle: "innerHTML" });
  }

  live(well) {
    this.notice.hidden = well;
    this.log?.say(well ? "Live" : "Trying again …");
  }
}

// -- the live tail of a log -------------------------------------------------------------------------------------------

const LONGEST_LOG = 1 << 20; // letters that are kept on the page

class Log {
  constructor(element) {
    this.element = element;
    this.state = document.getElementById("log-state");
    this.place = element.dataset.place;
    element.scrollTop = element.scrollHeight;
  }

  show(event, anew) {
    const told = JSON.parse(event.data);
    const log = this.element;
    const pinned = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (anew) log.replaceChildren();
    log.insertAdjacentHTML("beforeend", told.html); // escaped by the server; nothing else is in it but spans
    while (log.textContent.length > LONGEST_LOG && log.firstChild !== log.lastChild) {
      log.firstChild.remove();
      document.getElementById("log-earlier").hidden = false;
    }
    if (anew) document.getElementById("log-earlier").hidden = told.start === 0;
    if (pinned) log.scrollTop = log.scrollHeight;
    this.place = event.lastEventId;
  }

  end() { this.say(this.place ? "Ended" : "No log of this run is on this machine."); }

  say(text) { this.state.textContent = text; }
}

window.addEventListener("DOMContentLoaded", () => {
  showTimes(document);
  window.setInterval(() => showTimes(document), 1000);
  setUpDialog();
  const page = document.getElementById("main");
  const log = document.getElementById("log");
  if (page.dataset.stream) new Stream(page, log ? new Log(log) : null);
});

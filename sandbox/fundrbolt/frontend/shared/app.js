/* fundrbolt __FRONTEND__ __VERSION__ */
"use strict";

const API = "https://api.fundrbolt.com";
const LISTING = "/api/v1/donations";
const SHOWN = 5;
const SECONDS = 10;

const main = document.querySelector("main");
const latest = document.querySelector("section");
const list = document.querySelector("#donations");
const note = document.querySelector("#note");

function amount(donation) {
  const formatter = new Intl.NumberFormat("en-US", { style: "currency", currency: donation.currency });
  return formatter.format(donation.amount_cents / 100);
}

function text(tag, name, content) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = content;
  return element;
}

function row(donation) {
  const given = new Date(donation.created_at);
  const when = text("time", "when", new Intl.DateTimeFormat("en-US", { dateStyle: "medium", timeStyle: "short" }).format(given));
  when.dateTime = donation.created_at;
  const mark = text("span", "mark", "♥");
  mark.setAttribute("aria-hidden", "true");
  const who = document.createElement("span");
  who.className = "who";
  who.append(text("strong", "donor", donation.donor), when);
  const item = document.createElement("li");
  item.dataset.id = donation.id;
  item.append(mark, who, text("span", "amount", amount(donation)));
  return item;
}

async function donations() {
  const answer = await fetch(`${API}${LISTING}?limit=${SHOWN}`, { signal: AbortSignal.timeout(SECONDS * 1000) });
  if (!answer.ok) {
    throw new Error(`${LISTING} was answered ${answer.status}`);
  }
  return (await answer.json()).donations;
}

async function show() {
  try {
    list.replaceChildren(...(await donations()).map(row));
    note.hidden = true;
    latest.hidden = false;
    main.dataset.state = "ready";
  } catch (error) {
    console.error("donations cannot be shown:", error);
    latest.hidden = true;
    note.textContent = "Donations cannot be shown right now.";
    note.hidden = false;
    main.dataset.state = "failed";
  } finally {
    main.removeAttribute("aria-busy");
  }
}

show();

"use strict";
// The page of `kapps serve`: what a model offers is read off its signatures.

const SLIDERS = 32;
const OCCLUSION = 7; // squares a side
const state = { models: {}, name: null };
const $ = (id) => document.getElementById(id);

// Makes an element: make("p", {className: "x"}, "text", child, ...)
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").className = wrong ? "wrong" : "";
}

async function request(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    const given = prompt("API key of this server");
    if (given) {
      sessionStorage.setItem("key", given);
      return request(path, options);
    }
  }
  return answer;
}

// JSON has no NaN; TensorFlow Serving reads it as a token.
const toBody = (value) =>
  JSON.stringify(value, (_, v) => (typeof v === "number" && Number.isNaN(v) ? "\u0000NaN" : v))
    .replaceAll('"\\u0000NaN"', "NaN");
const fromBody = (text) =>
  JSON.parse(text.replace(/([\[,:\s])(-?Infinity|NaN)(?=[\],}\s])/g, "$1null"));

async function predict(signature, inputs) {
  const answer = await request(`/v1/models/${encodeURIComponent(state.name)}:predict`, {
    method: "POST",
    body: toBody({ signature_name: signature, inputs }),
  });
  const said = fromBody(await answer.text());
  if (!answer.ok) throw new Error(said.error);
  const outputs = said.outputs;
  const names = Object.keys(model().signatures[signature].outputs);
  return names.length === 1 ? { [names[0]]: outputs } : outputs;
}

const model = () => state.models[state.name];
const takes = (signature) => model().signatures[signature]?.inputs ?? {};
const gives = (signature) => model().signatures[signature]?.outputs ?? {};
const shape = (tensor) => (tensor.tensor_shape.dim ?? []).map((d) => Number(d.size));

// Runs what a person asked for, and says what went wrong.
async function attempt(work) {
  const asked = state.name;
  try {
    say("…");
    await work();
    if (asked === state.name) say("");
  } catch (error) {
    say(error.message, true);
  }
}

// Of many calls while one runs only the last is made: a slider gives dozens a second.
function latest(work) {
  let running = false, waiting = false;
  return async function run() {
    if (running) {
      waiting = true;
      return;
    }
    running = true;
    do {
      waiting = false;
      await attempt(work);
    } while (waiting);
    running = false;
  };
}

function toCanvas(pixels, size) {
  const height = pixels.length, width = pixels[0].length;
  const canvas = make("canvas", { width, height });
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const p = pixels[y][x], at = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) image.data[at + c] = p[p.length === 1 ? 0 : c];
      image.data[at + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.style.width = `${size}px`;
  canvas.setAttribute("role", "img");
  return canvas;
}

function labelChooser(onchange) {
  const chooser = make("select", { onchange });
  const labels = model().labels;
  labels.forEach((label, i) => chooser.append(make("option", { value: i }, label)));
  if (!labels.length) for (let i = 0; i < 10; i++) chooser.append(make("option", { value: i }, i));
  return chooser;
}

function chances(probabilities, labels, most = 10) {
  const order = probabilities.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, most);
  return make("table", {}, ...order.map(([p, i]) =>
    make("tr", {},
      make("td", {}, labels[i] ?? String(i)),
      make("td", {}, make("meter", { min: 0, max: 1, value: p ?? 0 })),
      make("td", { className: "number" }, p === null ? "NaN" : `${(100 * p).toFixed(1)} %`))));
}

function panel(title, ...children) {
  const section = make("section", {}, make("h2", {}, title), ...children);
  $("panels").append(section);
  return section;
}

// A place to drop a picture, or to choose or photograph one.
function dropZone(onfile) {
  const input = make("input", { type: "file", accept: "image/*" });
  const zone = make("label", { className: "drop" }, "Drop an image here, choose one or take one", input);
  input.onchange = () => input.files[0] && onfile(input.files[0]);
  zone.ondragover = (event) => { event.preventDefault(); zone.classList.add("over"); };
  zone.ondragleave = () => zone.classList.remove("over");
  zone.ondrop = (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files[0]) onfile(event.dataTransfer.files[0]);
  };
  return zone;
}

async function base64(blob) {
  const octets = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < octets.length; i += 32768) {
    text += String.fromCharCode(...octets.subarray(i, i + 32768));
  }
  return { b64: btoa(text) };
}

// The server reads PNG, JPEG, GIF and BMP; what else a browser knows is drawn first.
async function readable(file) {
  if (/^image\/(png|jpeg|gif|bmp)$/.test(file.type)) return file;
  return toBlob(await drawn(file, 1024));
}

async function drawn(file, most) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, most / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", {
    width: Math.max(1, Math.round(bitmap.width * scale)),
    height: Math.max(1, Math.round(bitmap.height * scale)),
  });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const toBlob = (canvas) => new Promise((done) => canvas.toBlob(done, "image/png"));

function pictureClassifier() {
  const answer = make("div", { className: "side" });
  async function show(file) {
    const blob = await readable(file);
    const said = await predict("from_bytes", { image_bytes: [await base64(blob)] });
    const canvas = await drawn(blob, 256);
    canvas.className = "picture";
    const where = make("button", {}, "What is the answer based on?");
    const right = make("div", {}, chances(said.probabilities[0], model().labels),
      ...likeness(said.out_of_distribution_score?.[0]));
    answer.replaceChildren(canvas, right);
    if ("heat_map" in gives("explain")) {
      const found = await predict("explain", { image_bytes: [await base64(blob)] });
      canvas.replaceWith(heated(found.image[0], found.heat_map[0]));
      right.append(make("small", {}, `Grad-CAM. Red: this part speaks for ${found.label[0]}.`));
      return;
    }
    right.append(make("p", {}, where));
    where.onclick = () => attempt(async () => {
      where.disabled = true;
      await explain(canvas, said.probabilities[0]);
      right.append(make("small", {}, "Red: covering this part makes the answer less probable."));
    });
  }
  const section = panel("Classify an image", dropZone((file) => attempt(() => show(file))), answer);
  section.id = "classify";
}

// How much an image is like those of training, where the model says so.
function likeness(score) {
  const threshold = model().out_of_distribution?.threshold;
  if (score === undefined || threshold === undefined) return [];
  const unlike = !(score <= threshold);
  return [make("p", { className: unlike ? "unlike" : "like" },
    `Out-of-distribution score ${score === null ? "NaN" : score.toPrecision(3)}: `,
    unlike
      ? `unlike the training images; 95 % of the validation images have at most ${threshold.toPrecision(3)}`
      : `as 95 % of the validation images, which have at most ${threshold.toPrecision(3)}`)];
}

// What the network sees, red where its heat map is high.
function heated(pixels, heat) {
  const canvas = toCanvas(pixels, 288);
  canvas.className = "picture";
  const context = canvas.getContext("2d");
  heat.forEach((row, y) => row.forEach((value, x) => {
    context.fillStyle = `rgba(220, 30, 30, ${0.65 * (value ?? 0)})`;
    context.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

// For models that publish no heat maps. Each square is covered by grey in turn; what the answer loses by it is painted.
async function explain(canvas, probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const w = canvas.width / OCCLUSION, h = canvas.height / OCCLUSION;
  const covered = [];
  for (let i = 0; i < OCCLUSION ** 2; i++) {
    const copy = make("canvas", { width: canvas.width, height: canvas.height });
    const context = copy.getContext("2d");
    context.drawImage(canvas, 0, 0);
    context.fillStyle = "#808080";
    context.fillRect((i % OCCLUSION) * w, Math.floor(i / OCCLUSION) * h, w, h);
    covered.push(await base64(await toBlob(copy)));
  }
  const said = await predict("from_bytes", { image_bytes: covered });
  const lost = said.probabilities.map((p) => Math.max(0, probabilities[best] - p[best]));
  const most = Math.max(...lost, 1e-6);
  const context = canvas.getContext("2d");
  lost.forEach((loss, i) => {
    context.fillStyle = `rgba(220, 30, 30, ${(0.65 * loss) / most})`;
    context.fillRect((i % OCCLUSION) * w, Math.floor(i / OCCLUSION) * h, w, h);
  });
}

function reconstruction() {
  const answer = make("div", { className: "row" });
  const labelled = "label" in takes("from_bytes");
  const chooser = labelled ? labelChooser() : null;
  async function show(file) {
    const blob = await readable(file);
    const inputs = { image_bytes: [await base64(blob)] };
    if (labelled) inputs.label = [Number(chooser.value)];
    const said = await predict("from_bytes", inputs);
    const canvas = await drawn(blob, 256);
    canvas.style.width = "224px";
    answer.replaceChildren(canvas, toCanvas(said.image[0], 224));
    if (said.error) answer.append(make("span", {}, `error ${said.error[0].toPrecision(4)}`));
  }
  const zone = dropZone((file) => attempt(() => show(file)));
  panel("Encode and reconstruct an image", ...(labelled ? [chooser] : []), zone, answer);
}

function latentSliders(signature) {
  const size = shape(takes(signature).z)[1];
  const labelled = "label" in takes(signature);
  const chooser = labelled ? labelChooser(() => draw()) : null;
  const picture = make("div", { className: "picture" });
  const z = new Array(size).fill(0);
  const draw = latest(async () => {
    const inputs = { z: [z] };
    if (labelled) inputs.label = [Number(chooser.value)];
    const said = await predict(signature, inputs);
    picture.replaceChildren(toCanvas(said.image[0], 280));
  });
  const knobs = z.slice(0, SLIDERS).map((_, i) => {
    const value = make("output", {}, "0.0");
    const knob = make("input", { type: "range", min: -3, max: 3, step: 0.05, value: 0 });
    knob.oninput = () => { z[i] = Number(knob.value); value.textContent = z[i].toFixed(1); draw(); };
    return { knob, value, label: make("label", {}, `z${i}`, knob, value) };
  });
  const set = (number) => {
    for (let i = 0; i < size; i++) z[i] = number();
    knobs.forEach(({ knob, value }, i) => { knob.value = z[i]; value.textContent = z[i].toFixed(1); });
    draw();
  };
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const section = panel("Explore the latent space",
    make("div", { className: "row" },
      ...(labelled ? [chooser] : []),
      make("button", { onclick: () => set(normal) }, "Random"),
      make("button", { onclick: () => set(() => 0) }, "Zero"),
      make("small", {}, size > SLIDERS ? `${SLIDERS} of ${size} dimensions` : "")),
    make("div", { className: "side" }, picture,
      make("div", { className: "sliders" }, ...knobs.map((k) => k.label))));
  section.id = "latent";
  draw();
}

function samples() {
  const labelled = "label" in takes("sample");
  const chooser = labelled ? labelChooser() : null;
  chooser?.prepend(make("option", { value: -1, selected: true }, "any class"));
  const seed = make("input", { type: "number", value: 1, ariaLabel: "seed" });
  const grid = make("div", { className: "grid" });
  const draw = () => attempt(async () => {
    const inputs = { count: 16, seed: Math.trunc(Number(seed.value)) || 0 };
    if (labelled) inputs.label = Number(chooser.value);
    const said = await predict("sample", inputs);
    grid.replaceChildren(...said.image.map((pixels) => toCanvas(pixels, 100)));
  });
  const again = () => { seed.value = Number(seed.value) + 1; draw(); };
  const section = panel("Sample pictures",
    make("div", { className: "row" }, ...(labelled ? [chooser] : []),
      make("label", {}, "Seed ", seed), make("button", { onclick: draw }, "Sample"),
      make("button", { onclick: again }, "Next seed")), grid);
  section.id = "sample";
}

function writer() {
  const text = make("textarea", { rows: 2, ariaLabel: "Prompt", value: "The " });
  const number = (value, step, min, max) => make("input", { type: "number", value, step, min, max });
  const length = number(300, 50, 1, 10000), seed = number(1, 1), heat = number(0.8, 0.1, 0, 5);
  const answer = make("div", { className: "text" });
  const write = () => attempt(async () => {
    const said = await predict("generate", {
      prompt: [text.value], length: Math.trunc(Number(length.value)), temperature: Number(heat.value),
      top_k: 0, seed: Math.trunc(Number(seed.value)),
    });
    answer.replaceChildren(make("b", {}, text.value), said.continuation[0]);
    seed.value = Number(seed.value) + 1;
  });
  const section = panel("Continue a text", text,
    make("div", { className: "row" }, make("label", {}, "Characters ", length),
      make("label", {}, "Temperature ", heat), make("label", {}, "Seed ", seed),
      make("button", { onclick: write }, "Write")), answer);
  section.id = "write";
}

function show(answer, said) {
  if (said.probabilities && !Array.isArray(said.label?.[0])) {
    answer.replaceChildren(...said.probabilities.slice(0, 20).map((row) => chances(row, model().labels)));
  } else {
    const values = said.prediction ?? said.label ?? said;
    answer.replaceChildren(make("pre", {}, JSON.stringify(values, null, 1)));
  }
}

function tableRow() {
  const inputs = takes("serving_default");
  const fields = Object.fromEntries(Object.keys(inputs).map((name) =>
    [name, make("input", { type: "text", name })]));
  const answer = make("div");
  const value = (name) => {
    const text = fields[name].value.trim();
    if (inputs[name].dtype === "DT_STRING") return text;
    if (text !== "" && !Number.isFinite(Number(text))) throw new Error(`${name}: "${text}" is not a number`);
    if (inputs[name].dtype.startsWith("DT_INT")) return text === "" ? -(2 ** 31) : Number(text);
    return text === "" ? NaN : Number(text);
  };
  const ask = () => attempt(async () => {
    const row = Object.fromEntries(Object.keys(inputs).map((name) => [name, [value(name)]]));
    show(answer, await predict("serving_default", row));
  });
  const pasted = make("input", { type: "text", className: "wide", placeholder: "paste a row, in the order below" });
  pasted.oninput = () => {
    const cells = pasted.value.split(pasted.value.includes("\t") ? "\t" : ",");
    Object.values(fields).forEach((field, i) => { if (i < cells.length) field.value = cells[i].trim(); });
  };
  const section = panel("Predict for a row",
    make("p", {}, pasted),
    make("div", { className: "fields" }, ...Object.entries(fields).map(([name, field]) =>
      make("label", {}, name, field))),
    make("p", {}, make("button", { onclick: ask }, "Ask"),
      make("small", {}, " A field that is empty is a missing value.")), answer);
  section.id = "row";
}

function numbers(title, name, series) {
  const features = shape(takes("serving_default")[name]).at(-1);
  const text = make("textarea", {
    rows: 6, ariaLabel: title,
    placeholder: `${features} numbers per line, ${series ? "one line per step" : "one line per point"}`,
  });
  const answer = make("div");
  const ask = () => attempt(async () => {
    const rows = text.value.trim().split("\n").map((line, i) => {
      const row = line.trim().split(/[\s,;]+/).map((cell) => (cell === "" ? NaN : Number(cell)));
      if (row.length !== features || (!series && row.some(Number.isNaN))) {
        throw new Error(`line ${i + 1}: ${features} numbers are needed`);
      }
      return row;
    });
    show(answer, await predict("serving_default", { [name]: series ? [rows] : rows }));
  });
  panel(title, text, make("p", {}, make("button", { onclick: ask }, "Ask")), answer).id = "numbers";
}

function offer() {
  const signatures = model().signatures;
  const first = takes("serving_default");
  if ("from_bytes" in signatures) {
    if ("probabilities" in gives("from_bytes")) pictureClassifier();
    else if ("image" in gives("from_bytes")) reconstruction();
  }
  for (const name of ["decode", "generate"]) if ("z" in takes(name)) latentSliders(name);
  if ("sample" in signatures) samples();
  if ("prompt" in takes("generate")) writer();
  if ("sequence" in first) numbers("Predict for a series", "sequence", true);
  else if ("points" in first) numbers("Predict for points", "points", false);
  const columns = Object.values(first);
  if (columns.length && columns.every((tensor) => tensor.tensor_shape.unknown_rank)
      && !("prompt" in first) && !("count" in first)) tableRow();
}

async function about() {
  const { version, versions, signatures } = model();
  $("versions").textContent = `${state.name}, version ${version}; ` +
    versions.map((v) => `${v.version} ${v.state.toLowerCase()}`).join(", ");
  const list = (tensors) => Object.entries(tensors).map(([name, tensor]) => {
    const lengths = tensor.tensor_shape.unknown_rank ? "" :
      `[${shape(tensor).map((n) => (n < 0 ? "N" : n)).join(", ")}]`;
    return `${name} ${tensor.dtype.slice(3).toLowerCase()} ${lengths}`.trim();
  }).join(", ");
  $("signatures").replaceChildren(make("table", {}, ...Object.entries(signatures).map(
    ([name, s]) => make("tr", {}, make("td", {}, name), make("td", {}, list(s.inputs)),
      make("td", {}, list(s.outputs))))));
  const path = `/v1/models/${encodeURIComponent(state.name)}:predict`;
  $("address").textContent = `POST ${path}`;
  $("body").value = JSON.stringify({ signature_name: "serving_default", inputs:
    Object.fromEntries(Object.keys(takes("serving_default")).map((name) => [name, []])) }, null, 1);
  $("answer").textContent = "";
  $("send").onclick = () => attempt(async () => {
    const answer = await request(path, { method: "POST", body: $("body").value });
    $("answer").textContent = `${answer.status}\n${(await answer.text()).slice(0, 20000)}`;
  });
  $("about").hidden = false;
  const card = await request(`/models/${encodeURIComponent(state.name)}/card`);
  $("card").textContent = await card.text();
}

function choose(name) {
  state.name = name;
  location.hash = encodeURIComponent(name);
  for (const button of $("models").children) {
    button.toggleAttribute("aria-current", button.textContent === name);
  }
  $("panels").replaceChildren();
  $("about").hidden = true;
  if (model().error) {
    const why = model().versions.map((v) => v.status.error_message).filter(Boolean);
    say([model().error, ...why].join(": "), true);
    return;
  }
  say("");
  offer();
  about().catch((error) => say(error.message, true));
}

async function begin() {
  const answer = await request("/models");
  state.models = await answer.json();
  if (!answer.ok) throw new Error(state.models.error);
  const names = Object.keys(state.models);
  $("models").replaceChildren(...names.map((name) =>
    make("button", { onclick: () => choose(name) }, name)));
  const asked = decodeURIComponent(location.hash.slice(1));
  if (!names.length) say("There is no model yet.");
  else choose(names.includes(asked) ? asked : names[0]);
}

attempt(begin);

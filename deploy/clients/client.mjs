// Names pictures by a served image classifier; Node.js alone is enough.
// node client.mjs http://127.0.0.1:8501 image_classifier PICTURE...
import { readFile } from "node:fs/promises";

const [url, model, ...files] = process.argv.slice(2);
const instances = await Promise.all(
  files.map(async (file) => ({ image_bytes: { b64: (await readFile(file)).toString("base64") } })),
);
const answer = await fetch(`${url}/v1/models/${encodeURIComponent(model)}:predict`, {
  method: "POST",
  body: JSON.stringify({ signature_name: "from_bytes", instances }),
});
const said = await answer.json();
if (!answer.ok) {
  console.error(said.error);
  process.exit(1);
}
said.predictions.forEach(({ label, probabilities }, i) => {
  console.log(files[i], label, Math.max(...probabilities).toFixed(4));
});

// Runs the whole surface of the official Node SDK against a simulator. Started by node_sdk.py, which judges the counts.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, url, key, examplesFile] = process.argv.slice(2);
const { default: Client } = createRequire(join(folder, "index.js"))("magic-hour");
const { examples } = JSON.parse(readFileSync(examplesFile, "utf8"));
const v1 = new Client({ token: key, baseUrl: url }).v1;

// The SDK's generate() sends this as it is.
const NOT_UPLOADED = ["endImageFilePath"];
// A fault of the SDK 0.43.1: this tool's generate() looks for its audio among the images.
const SDK_FAULT = /^ai-voice-generator\.generate: 404 was returned from get \/v1\/image-projects\//;
const KINDS = { png: "image", jpg: "image", mp4: "video", mp3: "audio" };
const counts = { calls: 0, creates: 0, generates: 0, downloads: 0, adapted: 0, parseErrors: [], failures: [], sdkFaults: [] };

const camel = (name) => name.replace(/_$/, "").replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

function convert(value, files, name = "") {
  if (Array.isArray(value)) return value.map((one) => convert(one, files, name));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([old, inner]) => [camel(old), convert(inner, files, camel(old))]));
  const extension = /^api-assets\/.*\.(\w+)$/.exec(value)?.[1];
  return extension ? files(name)[KINDS[extension]] : value;
}

async function call(what, action) {
  counts.calls += 1;
  try {
    return await action();
  } catch (error) {
    const sentence = `${what}: ${error.message}`;
    const unread = error.name === "ZodError" || error instanceof SyntaxError;
    (SDK_FAULT.test(sentence) ? counts.sdkFaults : unread ? counts.parseErrors : counts.failures).push(sentence);
    return null;
  }
}

// What call() returned null for is reported already.
function expect(what, good, seen) {
  if (!good && seen !== null) counts.failures.push(`${what}: ${JSON.stringify(seen)}`);
}

const accepted = async () => (await (await fetch(`${url}/_simulator/stats`)).json()).creates.accepted;

// An older SDK knows fewer models and demands fields that are gone: it refuses such a request before it creates anything.
// The refusal says what it would take.
async function buy(request, action) {
  for (;;) {
    const before = await accepted();
    try {
      return await action(request);
    } catch (refusal) {
      if ((await accepted()) > before) throw refusal;
      const issue = refusal.issues?.find((one) => one.options || /^'/.test(one.expected));
      if (!issue) throw refusal;
      const value = issue.options?.[0] ?? issue.expected.split("'")[1];
      issue.path.slice(0, -1).reduce((inner, part) => (inner[part] ??= {}), request)[issue.path.at(-1)] = value;
      counts.adapted += 1;
    }
  }
}

async function create(slug, client, request) {
  counts.creates += 1;
  const answer = await call(`${slug}.create`, () => buy(request, (one) => client.create(one)));
  expect(`${slug}.create`, typeof answer?.id === "string" && Number.isInteger(answer.creditsCharged), answer);
  return answer?.id;
}

async function generate(slug, client, request) {
  counts.generates += 1;
  const downloadDirectory = join(folder, slug);
  const result = await call(`${slug}.generate`, () => buy(request, (one) => client.generate(one, { downloadDirectory })));
  expect(`${slug}.generate`, result?.status === "complete" && result.downloadedPaths.length > 0, result);
  counts.downloads += result?.downloadedPaths?.length ?? 0;
  return result?.downloadedPaths?.[0];
}

async function sound() {
  const id = await create("sound", v1.aiVoiceGenerator, { style: { prompt: "hi", voiceName: "Elon Musk" } });
  const made = await call("sound checkResult", () => v1.audioProjects.checkResult({ id }, { downloadDirectory: folder }));
  counts.downloads += made.downloadedPaths.length;
  return made.downloadedPaths[0];
}

const local = {
  image: await generate("picture", v1.aiQrCodeGenerator, { content: "hello", style: { artStyle: "plain" } }),
  video: await generate("film", v1.textToVideo, { endSeconds: 1, style: { prompt: "a wave" } }),
  audio: await sound(),
};
const uploaded = {};
for (const [kind, path] of Object.entries(local)) {
  uploaded[kind] = await call(`files.uploadFile ${kind}`, () => v1.files.uploadFile(path));
}

const tools = Object.keys(examples).filter((slug) => !slug.includes("/"));
const camelTool = (slug) => camel(slug.replaceAll("-", "_"));
const resources = Object.getOwnPropertyNames(Object.getPrototypeOf(v1));
counts.newerTools = tools.filter((slug) => !resources.includes(camelTool(slug)));
counts.unknownTools = resources.filter(
  (name) => typeof v1[name]?.create === "function" && !tools.some((slug) => camelTool(slug) === name),
);

const ids = {};
for (const slug of tools.filter((one) => !counts.newerTools.includes(one))) {
  const client = v1[camelTool(slug)];
  const example = examples[slug].kwargs;
  ids[slug] = await create(slug, client, convert(example, () => uploaded));
  await generate(slug, client, convert(example, (name) => (NOT_UPLOADED.includes(name) ? uploaded : local)));
}

const projects = {
  "ai-image-generator": v1.imageProjects,
  "text-to-video": v1.videoProjects,
  "ai-voice-generator": v1.audioProjects,
};
for (const [slug, kind] of Object.entries(projects)) {
  const id = ids[slug];
  const seen = await call(`${slug} get`, () => kind.get({ id }));
  expect(`${slug} get`, seen?.status === "complete", seen);
  const checked = await call(`${slug} checkResult`, () => kind.checkResult({ id }, { downloadOutputs: false }));
  expect(`${slug} checkResult`, checked?.status === "complete", checked);
  await call(`${slug} delete`, () => kind.delete({ id }));
  counts.calls += 1;
  const refusal = await kind.get({ id }).then(() => undefined, (error) => error);
  expect(`${slug} get after delete`, refusal?.response?.status === 404, String(refusal));
}
const faces = await call("faceDetection.get", () => v1.faceDetection.get({ id: ids["face-detection"] }));
expect("faceDetection.get", faces?.faces?.length > 0, faces);
const places = await call("files.uploadUrls.create", () =>
  v1.files.uploadUrls.create({ items: [{ extension: "mp4", type: "video" }] }),
);
expect("files.uploadUrls.create", places?.items?.length === 1, places);

console.log(JSON.stringify(counts));

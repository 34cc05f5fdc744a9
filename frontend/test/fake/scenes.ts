/** Realistic runs for screenshots and tests: the events of the pipeline `shorts`, in Korean or English. */

import type { FakeRelay } from "./relay";

export const STEPS = [
  { name: "plan", weight: 25 },
  { name: "images", weight: 15 },
  { name: "music", weight: 10 },
  { name: "voice", weight: 15 },
  { name: "mix", weight: 10 },
  { name: "render", weight: 5 },
  { name: "qa", weight: 20 },
];

/** One event of a scene: its time in ms after the start, and its fields. */
type Row = readonly [number, Parameters<FakeRelay["publish"]>[1]];

const ROWS: readonly Row[] = [
  [
    0,
    {
      state: "STARTED",
      step: "plan",
      step_status: "running",
      log: "Worker picked up the run (pid 4127)",
      level: "debug",
    },
  ],
  [
    120,
    {
      state: "PLOT_GENERATION",
      progress: 0.1,
      step: "plan",
      step_progress: 0.4,
      log: "플롯 생성 시작: 프롬프트 분석 중...",
    },
  ],
  [
    300,
    {
      state: "PLOT_GENERATION",
      progress: 0.12,
      step: "plan",
      step_progress: 0.48,
      log: "시나리오 생성 중 (GPT-4o-mini)...",
    },
  ],
  [
    900,
    {
      state: "PLOT_GENERATION",
      progress: 0.12,
      level: "warning",
      step: "plan",
      log: "rate limited by the model, waiting 1.2 s (attempt 1 of 3)",
    },
  ],
  [
    2300,
    {
      state: "PLOT_GENERATION",
      progress: 0.15,
      step: "plan",
      step_progress: 0.6,
      log: "시나리오 CSV 생성 완료",
    },
  ],
  [
    2500,
    {
      state: "PLOT_GENERATION",
      progress: 0.17,
      step: "plan",
      step_progress: 0.68,
      log: "JSON 레이아웃 변환 중...",
    },
  ],
  [
    2900,
    {
      state: "PLOT_GENERATION",
      progress: 0.2,
      step: "plan",
      step_progress: 0.8,
      log: "JSON 레이아웃 생성 완료",
    },
  ],
  [
    3000,
    {
      state: "ASSET_GENERATION",
      progress: 0.25,
      step: "plan",
      step_status: "succeeded",
      step_progress: 1,
      log: "에셋 생성 시작 (디자이너, 작곡가, 성우)",
    },
  ],
  [
    3100,
    {
      state: "ASSET_GENERATION",
      progress: 0.3,
      step: "images",
      step_status: "running",
      step_progress: 0,
      log: "디자이너: 이미지 생성 중...",
    },
  ],
  [
    3150,
    {
      state: "ASSET_GENERATION",
      progress: 0.3,
      step: "music",
      step_status: "running",
      step_progress: 0,
      log: "작곡가: 배경음악 생성 중...",
    },
  ],
  [
    3200,
    {
      state: "ASSET_GENERATION",
      progress: 0.3,
      step: "voice",
      step_status: "running",
      step_progress: 0,
      log: "성우: 음성 합성 중...",
    },
  ],
  [
    4200,
    {
      state: "ASSET_GENERATION",
      progress: 0.36,
      step: "images",
      step_progress: 0.4,
      log: "\u001b[32m✓\u001b[0m scene-1.png  \u001b[2m540×960, palette \u001b[35mnebula\u001b[0m",
    },
  ],
  [
    4900,
    {
      state: "ASSET_GENERATION",
      progress: 0.42,
      step: "music",
      step_status: "succeeded",
      step_progress: 1,
      log: "\u001b[32m✓\u001b[0m music.wav  \u001b[2m9.6 s, 84 bpm, A minor\u001b[0m",
    },
  ],
  [
    5600,
    {
      state: "ASSET_GENERATION",
      progress: 0.45,
      step: "images",
      step_progress: 0.8,
      log: "\u001b[32m✓\u001b[0m scene-2.png  \u001b[2m540×960, palette \u001b[34mocean\u001b[0m",
    },
  ],
];

const REST: readonly Row[] = [
  [
    6200,
    {
      state: "ASSET_GENERATION",
      progress: 0.5,
      step: "images",
      step_status: "succeeded",
      step_progress: 1,
      log: "\u001b[32m✓\u001b[0m scene-3.png",
    },
  ],
  [
    7000,
    {
      state: "ASSET_GENERATION",
      progress: 0.65,
      step: "voice",
      step_status: "succeeded",
      step_progress: 1,
      log: "성우: 음성 합성 완료",
    },
  ],
  [7100, { state: "RENDERING", progress: 0.7, step: "mix", step_status: "running", step_progress: 0.5 }],
  [
    7900,
    {
      state: "RENDERING",
      progress: 0.75,
      step: "mix",
      step_status: "succeeded",
      step_progress: 1,
      log: "렌더링 단계 시작",
    },
  ],
  [8000, { state: "RENDERING", progress: 0.75, step: "render", step_status: "running", step_progress: 0 }],
  [
    11200,
    {
      state: "RENDERING",
      progress: 0.8,
      step: "render",
      step_status: "succeeded",
      step_progress: 1,
      log: "렌더링 완료: film.mp4",
    },
  ],
  [
    11300,
    {
      state: "QA",
      progress: 0.85,
      step: "qa",
      step_status: "running",
      step_progress: 0.25,
      log: "QA: 품질 검수 시작...",
    },
  ],
  [11900, { state: "QA", progress: 0.95, step: "qa", step_progress: 0.75, log: "QA: 영상 파일 확인 완료" }],
  [12100, { state: "QA", progress: 0.95, step: "qa", step_status: "succeeded", step_progress: 1 }],
];

const FILES = [
  { name: "film.mp4", media_type: "video/mp4", size_bytes: 1_284_201 },
  { name: "poster.jpg", media_type: "image/jpeg", size_bytes: 48_110 },
  { name: "scenario.csv", media_type: "text/csv", size_bytes: 912 },
  { name: "layout.json", media_type: "application/json", size_bytes: 3_204 },
  { name: "music.wav", media_type: "audio/wav", size_bytes: 1_843_244 },
];

/** A run in the middle: some assets are done, others are made in parallel. It began `agoMs` ago. */
export function running(relay: FakeRelay, runId: string, title: string, agoMs = 5_800): void {
  const begun = Date.now() - agoMs;
  relay.publish(runId, { state: "QUEUED", title, pipeline: "shorts", steps: STEPS }, begun - 420);
  for (const [at, event] of ROWS) relay.publish(runId, event, begun + at);
}

export function succeeded(relay: FakeRelay, runId: string, title: string, agoMs = 60_000): void {
  const begun = Date.now() - agoMs;
  running(relay, runId, title, agoMs);
  for (const [at, event] of REST) relay.publish(runId, event, begun + at);
  const result = { video: "film.mp4", poster: "poster.jpg", duration_s: 8.4, files: FILES };
  relay.publish(runId, { state: "END", log: "영상 생성 완료! 🎉", result }, begun + 12_200);
}

export const TRACEBACK = `Traceback (most recent call last):
  File "pipelines/shorts/tasks.py", line 88, in images
    draw_scene(scene, folder / f"scene-{scene.number}.png", report)
  File "pipelines/shorts/images.py", line 142, in draw_scene
    picture = palette_for(scene.mood)
  File "pipelines/shorts/images.py", line 57, in palette_for
    raise ValueError(f"no palette for mood {mood!r}, known are: calm, dark, bright, sad")
ValueError: no palette for mood 'melancholic', known are: calm, dark, bright, sad`;

export function failed(relay: FakeRelay, runId: string, title: string, agoMs = 240_000): void {
  const begun = Date.now() - agoMs;
  running(relay, runId, title, agoMs);
  relay.publish(
    runId,
    {
      state: "ASSET_GENERATION",
      step: "images",
      step_status: "failed",
      level: "error",
      error: "ValueError: no palette for mood 'melancholic', known are: calm, dark, bright, sad",
      log: "images failed: no palette for mood 'melancholic'",
    },
    begun + 6_000,
  );
  relay.publish(
    runId,
    {
      state: "FAILED",
      error: TRACEBACK,
      level: "error",
      log: "ValueError: no palette for mood 'melancholic', known are: calm, dark, bright, sad",
    },
    begun + 6_100,
  );
  const run = relay.runs.get(runId);
  for (const step of run?.steps ?? [])
    if (step.status === "running") Object.assign(step, { status: "cancelled", finished_at: begun + 6_100 });
}

export const SHORTS = {
  name: "shorts",
  title: "Short film",
  description:
    "A vertical film of a few seconds from one sentence: plot, pictures, music, voice, checked at the end.",
  input_schema: {
    type: "object",
    required: ["prompt"],
    properties: {
      prompt: {
        type: "string",
        title: "Prompt",
        minLength: 1,
        maxLength: 2000,
        description: "What the film is about, in a sentence or two.",
        examples: ["A cat who travels to the moon to find the perfect nap"],
      },
      locale: {
        type: "string",
        title: "Language",
        enum: ["ko", "en"],
        default: "ko",
        description: "The language of captions, voice and log.",
      },
    },
  },
};

export const SCAN = {
  name: "scan",
  title: "Waste scan",
  description: "Looks at a photo and says how to dispose of it.",
  input_schema: {
    type: "object",
    required: ["image_url"],
    properties: {
      image_url: {
        type: "string",
        title: "Image address",
        format: "uri",
        examples: ["https://example.com/bottle.jpg"],
      },
      user_input: {
        anyOf: [{ type: "string", maxLength: 1000 }, { type: "null" }],
        default: null,
        title: "Question",
      },
      notify: {
        type: "boolean",
        title: "Send a webhook",
        default: false,
        description: "When the answer is there.",
      },
      retries: { type: "integer", title: "Retries", minimum: 0, maximum: 5, default: 3 },
    },
  },
};

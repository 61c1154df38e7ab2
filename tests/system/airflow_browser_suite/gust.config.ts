// Airflow's own configuration of its browser suite, as far as it stands for the tests, on Gust's stack: this machine's chromium,
// no login form (a local stack that listens on 127.0.0.1 asks for none), and results that a program can read.
import { defineConfig } from "@playwright/test";

import airflow from "./playwright.config";

const chromium = airflow.projects?.find((project) => project.name === "chromium");
const known = new RegExp(process.env.SUITE_KNOWN ?? "^$"); // titles of tests that fail for a known reason: tried once

const machine = {
  ...chromium?.use,
  launchOptions: {
    ...chromium?.use?.launchOptions,
    args: [...(chromium?.use?.launchOptions?.args ?? []), "--no-sandbox", "--disable-dev-shm-usage"],
    executablePath: process.env.SUITE_CHROMIUM,
  },
};

export default defineConfig({
  ...airflow,
  expect: { timeout: 30_000 }, // three times Airflow's: two busy cores run the browsers and the stack
  globalSetup: "./gust_setup.ts",
  globalTeardown: undefined, // the stack ends with the tests
  outputDir: process.env.SUITE_OUTPUT,
  projects: [
    { grepInvert: known, name: "chromium", retries: 2, use: machine },
    { expect: { timeout: 10_000 }, grep: known, name: "known", retries: 0, use: machine },
  ],
  reporter: [["json", { outputFile: process.env.SUITE_RESULTS }], ["line"]],
  timeout: 180_000,
  use: { ...airflow.use, actionTimeout: 30_000, trace: "off", video: "off" },
  workers: 2,
});

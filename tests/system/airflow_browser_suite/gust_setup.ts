// What Airflow's global setup leaves behind for its tests: a browser state that is signed in, and DAGs that are parsed.
import { request } from "@playwright/test";
import fs from "node:fs";
import path from "node:path";

import { AUTH_FILE, testConfig } from "./playwright.config";
import { waitForDagReady } from "./tests/e2e/utils/api/dag-runs";

export default async function setUp() {
  fs.mkdirSync(path.dirname(AUTH_FILE), { recursive: true });
  const context = await request.newContext({ baseURL: testConfig.connection.baseUrl });
  await context.get("/auth/token"); // sets the cookie where the stack demands one
  await context.storageState({ path: AUTH_FILE });
  const dags = [testConfig.testDag.id, testConfig.testDag.hitlId, testConfig.xcomDag.id, "example_python_operator"];
  await Promise.all(dags.map((dag) => waitForDagReady(context, dag, { timeout: 300_000 })));
  await context.dispose();
}

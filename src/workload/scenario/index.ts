export { runScenario, type ScenarioOptions } from './run.ts';

export type { RehearsalReportInput, ReportParameter } from './input.ts';
export { rehearsalParameters } from './parameters.ts';
export { renderRehearsalReport } from './render.ts';

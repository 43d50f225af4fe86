export type { MeasuredRun, RehearsalReportInput, ReportedProfile, ReportParameter } from './input.ts';
export { renderRehearsalReport } from './render.ts';

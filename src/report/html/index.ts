export type {
  CurvePoint,
  MeasuredRun,
  RehearsalReportInput,
  ReportedProfile,
  ReportedRehearsal,
  ReportedSweep,
  ReportParameter,
  SweptOutcome,
} from './input.ts';
export { renderRehearsalReport } from './render.ts';

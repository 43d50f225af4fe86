export {
  decideMapping,
  decideMappings,
  type MappingDecision,
  type PageRule,
  selectMappings,
} from './select-mappings.ts';
export type {
  ClearLedger,
  ProcessView,
  Target,
  TargetIdentity,
  TargetState,
  TrackingAbilities,
  Vma,
} from './view.ts';

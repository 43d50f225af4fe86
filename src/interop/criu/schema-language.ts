import { create, createFileRegistry, type DescMessage } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  EnumDescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';

/** Types of fields that are neither messages nor enumerations. */
const SCALARS: Readonly<Record<string, Type>> = {
  u32: Type.UINT32,
  u64: Type.UINT64,
  i32: Type.INT32,
  i64: Type.INT64,
  s32: Type.SINT32,
  s64: Type.SINT64,
  fixed64: Type.FIXED64,
  bool: Type.BOOL,
  string: Type.STRING,
  bytes: Type.BYTES,
};

const LABELS: Readonly<Record<string, Label>> = {
  '': Label.REQUIRED,
  '?': Label.OPTIONAL,
  '*': Label.REPEATED,
};

/**
 * Compiles messages written in a short form of Protocol Buffers 2, one definition a line (further lines are indented):
 *
 *     rlimit_entry: cur=1 u64, max=2 u64
 *     task_rlimits_entry: rlimits=1 rlimit_entry*
 *     enum lsmtype: NO_LSM=0, SELINUX=1
 *
 * `?` stands for optional, `*` for repeated, `*p` for repeated and packed; without a sign a field is required.
 * @returns the messages by name
 */
export function compileSchema(text: string): ReadonlyMap<string, DescMessage> {
  const definitions = text
    .replace(/\n[ \t]+/g, ' ')
    .split('\n')
    .filter((line) => line.includes(':'));
  const enums = definitions.filter((line) => line.startsWith('enum '));
  const enumNames = new Set(enums.map((line) => line.slice('enum '.length, line.indexOf(':'))));
  const messages = definitions.filter((line) => !line.startsWith('enum '));
  const file = create(FileDescriptorProtoSchema, {
    name: 'criu-images',
    syntax: 'proto2',
    enumType: enums.map(compileEnum),
    messageType: messages.map((line) => compileMessage(line, enumNames)),
  });
  const registry = createFileRegistry(file, () => undefined);
  return new Map([...registry].filter((type) => type.kind === 'message').map((type) => [type.name, type]));
}

function namedNumbers(line: string): { name: string; number: number; rest: string }[] {
  const body = line.slice(line.indexOf(':') + 1);
  return body.split(',').map((entry) => {
    const match = /^\s*(\w+)=(\d+)\s*(.*?)\s*$/.exec(entry);
    if (match === null) throw new SyntaxError(`'${entry}' is no field: ${line}`);
    return { name: match[1]!, number: Number(match[2]), rest: match[3]! };
  });
}

function compileEnum(line: string) {
  const name = line.slice('enum '.length, line.indexOf(':'));
  // Values of different enumerations may have the same name, which Protocol Buffers allows only in different scopes;
  // the prefix is what reflection takes off again.
  const value = namedNumbers(line).map(({ name: label, number }) => ({ name: label, number }));
  return create(EnumDescriptorProtoSchema, { name, value });
}

function compileMessage(line: string, enumNames: ReadonlySet<string>): DescriptorProto {
  const name = line.slice(0, line.indexOf(':'));
  const field = namedNumbers(line).map(({ name: field, number, rest }) =>
    compileField(field, number, rest, enumNames),
  );
  return create(DescriptorProtoSchema, { name, field });
}

function compileField(
  name: string,
  number: number,
  declared: string,
  enumNames: ReadonlySet<string>,
): FieldDescriptorProto {
  const match = /^(\w+?)([?*]?)(p?)$/.exec(declared);
  if (match === null) throw new SyntaxError(`'${declared}' is no type (field ${name})`);
  const [, type = '', sign = '', packed] = match;
  const scalar = SCALARS[type];
  return create(FieldDescriptorProtoSchema, {
    name,
    number,
    label: LABELS[sign] ?? Label.REQUIRED,
    type: scalar ?? (enumNames.has(type) ? Type.ENUM : Type.MESSAGE),
    ...(scalar === undefined ? { typeName: `.${type}` } : {}),
    ...(packed === 'p' ? { options: { packed: true } } : {}),
  });
}

import { basename, dirname, join } from 'node:path';
import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import type { ArchiveExportResult, ExportedDirectory, ExportResult } from '../interop/index.ts';
import { formatFields } from './table.ts';

/** What an export wrote, and how CRIU restores it. */
export function formatExported(result: ExportResult): string {
  const { checkpoint, directories, imagesDirectory, preDump, memoryDigest, microseconds } = result;
  return formatFields([
    ['checkpoint', String(checkpoint)],
    ...directories.map((directory): [string, string] => ['images', describeDirectory(directory)]),
    ['digest', `${memoryDigest} (verified)`],
    ['time', formatDuration(microseconds)],
    preDump ? ['dump on it', dumpOnTop(imagesDirectory)] : ['restore it', restoreCommand(result)],
  ]);
}

function restoreCommand({ imagesDirectory, directories }: ExportResult): string {
  const isLazy = directories.some(({ lazyPages }) => lazyPages > 0);
  const options = isLazy ? ' --lazy-pages, beside criu lazy-pages --page-server' : '';
  return `criu restore -D ${imagesDirectory}${options}`;
}

/** CRIU finds the previous images from where the new ones are to be. */
function dumpOnTop(imagesDirectory: string): string {
  const images = join(dirname(imagesDirectory), 'NEXT');
  return `criu dump -D ${images} --track-mem --prev-images-dir ../${basename(imagesDirectory)}`;
}

/** What an export for podman wrote, and how podman restores it. */
export function formatArchiveExported(result: ArchiveExportResult): string {
  const { checkpoint, outputPath, compression, archiveBytes, unpackedBytes, pages, members } = result;
  const compressed = compression === 'none' ? '' : `, ${formatBytes(unpackedBytes)} before ${compression}`;
  return formatFields([
    ['checkpoint', String(checkpoint)],
    ['archive', `${outputPath} (${formatBytes(archiveBytes)}${compressed})`],
    [
      'members',
      `${formatCount(members)}, with ${formatBytes(pages * PAGE_SIZE)} in ${formatCount(pages)} pages`,
    ],
    ['digest', `${result.memoryDigest} (verified)`],
    ['time', formatDuration(result.microseconds)],
    ['restore it', `podman container restore --import ${outputPath}`],
  ]);
}

function describeDirectory(directory: ExportedDirectory): string {
  const { pages, zeroPages, parent, parentPages, lazyPages } = directory;
  const parts = [
    `${formatBytes(pages * PAGE_SIZE)} in ${formatCount(pages)} pages`,
    ...(zeroPages > 0 ? [`${formatCount(zeroPages)} of them holes`] : []),
    ...(parent === null ? [] : [`${formatCount(parentPages)} pages in ${parent}`]),
    ...(lazyPages > 0 ? [`${formatCount(lazyPages)} pages left to the page server`] : []),
    `${formatCount(directory.files)} other files`,
  ];
  return `${directory.directory} (${parts.join(', ')})`;
}

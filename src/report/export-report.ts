import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import type { ArchiveExportResult, ExportedDirectory, ExportResult } from '../interop/index.ts';
import { formatFields } from './table.ts';

/** What an export wrote, and how CRIU restores it. */
export function formatExported(result: ExportResult): string {
  const { checkpoint, directories, imagesDirectory, memoryDigest, microseconds } = result;
  const lazyPages = directories.reduce((sum, directory) => sum + directory.lazyPages, 0);
  return formatFields([
    ['checkpoint', String(checkpoint)],
    ...directories.map((directory): [string, string] => ['images', describeDirectory(directory)]),
    ['digest', `${memoryDigest} (verified)`],
    ['time', formatDuration(microseconds)],
    [
      'restore it',
      lazyPages === 0
        ? `criu restore -D ${imagesDirectory}`
        : `criu restore -D ${imagesDirectory} --lazy-pages, beside criu lazy-pages --page-server`,
    ],
  ]);
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

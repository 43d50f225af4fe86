/** Memory and its mappings: images/pagemap.proto, mm.proto, vma.proto, memfd.proto of CRIU 4.2. */
export const MEMORY_SCHEMA = `
pagemap_head: pages_id=1 u32
pagemap_blocks: block_sizes=1 u32*p, total_payload_size=2 u64?, pages_per_block=3 u32?
pagemap_entry: vaddr=1 u64, compat_nr_pages=2 u32, in_parent=3 bool?, flags=4 u32?, nr_pages=5 u64?,
  blocks=6 pagemap_blocks?
aio_ring_entry: id=1 u64, nr_req=2 u32, ring_len=3 u32
mm_entry: mm_start_code=1 u64, mm_end_code=2 u64, mm_start_data=3 u64, mm_end_data=4 u64, mm_start_stack=5 u64,
  mm_start_brk=6 u64, mm_brk=7 u64, mm_arg_start=8 u64, mm_arg_end=9 u64, mm_env_start=10 u64, mm_env_end=11 u64,
  exe_file_id=12 u32, mm_saved_auxv=13 u64*, vmas=14 vma_entry*, dumpable=15 i32?, aios=16 aio_ring_entry*,
  thp_disabled=17 bool?
vma_entry: start=1 u64, end=2 u64, pgoff=3 u64, shmid=4 u64, prot=5 u32, flags=6 u32, status=7 u32, fd=8 s64,
  madv=9 u64?, fdflags=10 u32?
memfd_file_entry: id=1 u32, flags=2 u32, pos=3 u64, fown=4 fown_entry, inode_id=5 u32
memfd_inode_entry: name=1 string, uid=2 u32, gid=3 u32, size=4 u64, shmid=5 u32, seals=6 u32, inode_id=7 u64,
  hugetlb_flag=8 u32?, mode=9 u32?
`;

#include "path_cache.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <string.h>

#include <algorithm>

namespace socktrace {
namespace {

// As many as the maps hold (bpf/callpath.bpf.h).
constexpr size_t kMostFiled = 8192;
// Samples whose answer never came (the unwinder died with them) are not waited for beyond this many.
constexpr size_t kMostAsked = 1 << 16;
// Their paths stay for so long.
constexpr size_t kMostGone = 64;

#if defined(__x86_64__)
constexpr size_t kStackPointer = 7, kInstruction = 16;
#elif defined(__aarch64__)
constexpr size_t kStackPointer = 31, kInstruction = 32;
#else
#error "socktrace knows the registers of x86_64 and arm64 only"
#endif

} // namespace

void PathCache::sampled(const stack_sample &sample) {
  if (asked_.size() >= kMostAsked)
    asked_.clear();
  Asked asked = {};
  asked.place.code = sample.code;
  asked.process = process_of(sample);
  asked.place.operation = sample.operation;
  asked.instruction = sample.registers[kInstruction];
  asked.stack_pointer = sample.registers[kStackPointer];
  asked.depth = sample.depth;
  asked.cached_ref = sample.cached_ref;
  asked.deep = sample.chunks > STACK_CHUNKS_USUAL;
  asked_.emplace(sample.ref, asked);
}

void PathCache::unwound(const UnwoundPath &path) {
  auto found = asked_.find(path.ref);
  if (found == asked_.end())
    return;
  Asked asked = found->second;
  asked_.erase(found);
  if (asked.cached_ref)
    return audit(asked, path);
  if (path.quality == PathQuality::kTruncated && !asked.deep) {
    uint64_t yes = 1;
    // Should the map be full, its stacks stay truncated, which the paths say themselves.
    bpf_map_update_elem(maps_.deep, &asked.place.code, &yes, BPF_ANY);
    return;
  }
  if (path.quality != PathQuality::kUnreadable)
    file(asked, path);
}

void PathCache::audit(const Asked &asked, const UnwoundPath &path) {
  auto filed = filed_.find(asked.cached_ref);
  // Nothing was learned when its code is gone, or it made room for another meanwhile.
  if (filed == filed_.end() || path.quality == PathQuality::kUnreadable)
    return;
  counters_.audited++;
  if (filed->second.path == path.path_id)
    return;
  counters_.wrong++;
  remove(asked.cached_ref);
}

void PathCache::file(const Asked &asked, const UnwoundPath &path) {
  verified_path verified = {};
  verified.instruction = asked.instruction;
  if (path.frames.size() < 2 || path.frames.size() - 1 > MAX_VERIFIED_WORDS)
    return;
  for (size_t i = 1; i < path.frames.size(); i++) {
    // A frame whose address lies nowhere in the stack (in a register, on arm64) cannot be looked for there.
    if (path.frames[i].return_offset < 0)
      return;
    verified.words[verified.count].offset = static_cast<uint64_t>(path.frames[i].return_offset);
    verified.words[verified.count].word = path.frames[i].pc;
    verified.count++;
  }

  path_key leaf_key = asked.place;
  leaf_key.fingerprint = 0;
  path_leaf leaf = {};
  // Two instructions that make the same call (a thread-safe variant, say) would take the place from each other.
  if (bpf_map_lookup_elem(maps_.leaves, &leaf_key, &leaf) != 0) {
    leaf.instruction = asked.instruction;
    leaf.offset = verified.words[0].offset;
    if (bpf_map_update_elem(maps_.leaves, &leaf_key, &leaf, BPF_ANY) != 0)
      return;
  }
  bool leaf_known = leaf.instruction == asked.instruction && leaf.offset == verified.words[0].offset;
  if (leaf.instruction == asked.instruction && !leaf_known)
    return;
  path_key place = asked.place;
  place.fingerprint = path_fingerprint(asked.instruction, leaf_known ? verified.words[0].word : 0,
                                       asked.depth, asked.stack_pointer);

  path_slots slots = {};
  bpf_map_lookup_elem(maps_.slots, &place, &slots);
  for (uint64_t ref : slots.refs) {
    // Captures that were under way together: one stands for all.
    verified_path other;
    if (ref && bpf_map_lookup_elem(maps_.verified, &ref, &other) == 0 &&
        memcmp(&other, &verified, sizeof(verified)) == 0)
      return;
  }
  if (order_.size() >= kMostFiled)
    remove(order_.front());
  uint64_t ref = path.ref, evicted = slots.refs[PATH_SLOTS - 1];
  if (evicted)
    remove(evicted);
  // The path before what leads to it.
  if (bpf_map_update_elem(maps_.verified, &ref, &verified, BPF_ANY) != 0)
    return;
  memmove(&slots.refs[1], &slots.refs[0], (PATH_SLOTS - 1) * sizeof(slots.refs[0]));
  slots.refs[0] = ref;
  if (bpf_map_update_elem(maps_.slots, &place, &slots, BPF_ANY) != 0) {
    bpf_map_delete_elem(maps_.verified, &ref);
    return;
  }
  filed_[ref] = {path.path_id, place, asked.process};
  order_.push_back(ref);
}

void PathCache::code_changed(const ProcessKey &process) {
  remove_if([&](const Filed &filed) {
    const code_identity &code = filed.place.code;
    return !(filed.process < process || process < filed.process) ||
           (code.tgid == process.tgid && code.execs == process.execs && code.start_ns == process.start_ns);
  });
}

void PathCache::code_gone(const ProcessKey &process) {
  gone_.insert(process);
  // All filed paths are gone through, so for many processes at once: they may exit by the thousand.
  if (gone_.size() < kMostGone)
    return;
  remove_if([&](const Filed &filed) {
    const code_identity &code = filed.place.code;
    return gone_.count(ProcessKey{code.tgid, code.execs, code.start_ns}) != 0;
  });
  gone_.clear();
}

void PathCache::forgotten(uint64_t path) {
  remove_if([&](const Filed &filed) { return filed.path == path; });
}

template<typename Holds>
void PathCache::remove_if(Holds holds) {
  std::vector<uint64_t> refs;
  for (const auto &[ref, filed] : filed_)
    if (holds(filed))
      refs.push_back(ref);
  for (uint64_t ref : refs)
    remove(ref);
}

void PathCache::remove(uint64_t ref) {
  auto filed = filed_.find(ref);
  if (filed == filed_.end())
    return;
  path_key place = filed->second.place;
  path_slots slots = {};
  if (bpf_map_lookup_elem(maps_.slots, &place, &slots) == 0) {
    auto *end = std::remove(std::begin(slots.refs), std::end(slots.refs), ref);
    std::fill(end, std::end(slots.refs), uint64_t{0});
    if (slots.refs[0])
      bpf_map_update_elem(maps_.slots, &place, &slots, BPF_ANY);
    else
      bpf_map_delete_elem(maps_.slots, &place);
  }
  bpf_map_delete_elem(maps_.verified, &ref);
  filed_.erase(filed);
  order_.erase(std::find(order_.begin(), order_.end(), ref));
}

} // namespace socktrace

#include "names.h"

#include <stdlib.h>

#include <libiberty/demangle.h>

namespace socktrace::unwinder {

namespace {

constexpr size_t kMaxCached = 1 << 16;

// Without what compilers and linkers append to the name of a C function.
std::string_view without_suffix(std::string_view name) {
  for (std::string_view suffix :
       {".constprop.", ".isra.", ".part.", ".cold", ".lto_priv.", ".llvm.", ".abi0"}) {
    size_t at = name.find(suffix);
    if (at != std::string_view::npos && at > 0)
      name = name.substr(0, at);
  }
  // A symbol's version.
  return name.substr(0, name.find('@', 1));
}

} // namespace

std::string bounded(std::string_view text, size_t most) {
  return std::string(text.substr(0, most));
}

bool is_mangled(std::string_view name) {
  return name.substr(0, 2) == "_Z" || name.substr(0, 2) == "_R";
}

std::string readable_name(std::string_view name) {
  if (!is_mangled(name) || name.size() >= kLongestMangledName)
    return bounded(without_suffix(name), kMaxFunctionName);
  char *plain = cplus_demangle(std::string(name).c_str(), DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
  std::string_view whole = plain ? std::string_view(plain) : name;
  std::string readable = bounded(whole.substr(0, whole.find(" [clone ")), kMaxFunctionName);
  free(plain);
  return readable;
}

void Paths::add(uint64_t path, const Unwound &unwound) {
  auto [at, is_new] = paths_.try_emplace(path, StoredPath{unwound.quality, unwound.notes, unwound.frames});
  if (!is_new) {
    at->second.quality = unwound.quality;
    at->second.notes = unwound.notes;
    return;
  }
  order_.push_back(path);
  if (order_.size() <= kMaxPaths)
    return;
  paths_.erase(order_.front());
  order_.pop_front();
}

const StoredPath *Paths::find(uint64_t path) const {
  auto at = paths_.find(path);
  return at == paths_.end() ? nullptr : &at->second;
}

std::vector<SourcePlace> Paths::look(OfModule &of, uint64_t code) {
  ElfModule &module = *of.module;
  std::vector<SourcePlace> places = of.lines->find(code);
  if (places.empty() && of.lines_from_elsewhere)
    places = of.lines_from_elsewhere->find(code);
  std::string_view symbol = module.symbol(code);
  if (!places.empty()) {
    // Symbols tell what a function is called by; DWARF has names that only libraries know inside (__GI_raise).
    SourcePlace &outermost = places.back();
    if (!symbol.empty() && !outermost.is_full_name)
      outermost.function = readable_name(symbol);
    return places;
  }
  SourcePlace place = {readable_name(symbol), {}, 0, false};
  if (module.runtime() == Runtime::kGo) {
    if (std::optional<GoTable::Function> function = module.go_table().find(code)) {
      place = {bounded(function->name, kMaxFunctionName), bounded(function->file, kMaxFileName),
               function->line, false};
    }
  }
  return {place};
}

const std::vector<SourcePlace> &Paths::places_of(const UnwoundFrame &frame) {
  if (cached_ > kMaxCached) {
    modules_.clear();
    cached_ = 0;
  }
  OfModule &of = modules_[frame.module.get()];
  if (!of.module) {
    of.module = frame.module;
    of.lines = std::make_unique<Lines>(*frame.module);
    if (frame.module->debug_file())
      of.lines_from_elsewhere = std::make_unique<Lines>(*frame.module->debug_file());
  }
  uint64_t code = frame.address - (frame.is_call ? 1 : 0);
  auto [at, is_new] = of.places.try_emplace(code);
  if (is_new) {
    cached_++;
    at->second = look(of, code);
  }
  return at->second;
}

void Paths::renew(const ElfModule *module) {
  auto at = modules_.find(module);
  if (at == modules_.end())
    return;
  cached_ -= at->second.places.size();
  modules_.erase(at);
}

std::vector<Name> Paths::names_of(const StoredPath &path) {
  std::vector<Name> names;
  for (const UnwoundFrame &frame : path.frames) {
    if (!frame.module) {
      names.push_back({frame.jit_name, {}, 0, frame.how, frame.pc, nullptr});
      continue;
    }
    const std::vector<SourcePlace> &places = places_of(frame);
    for (size_t i = 0; i < places.size(); i++) {
      FrameHow how = i + 1 == places.size() ? frame.how : FrameHow::kInlined;
      names.push_back({places[i].function, places[i].file, places[i].line, how, frame.address, frame.module});
    }
  }
  if (names.size() > kMaxNamedFrames)
    names.resize(kMaxNamedFrames);
  return names;
}

} // namespace socktrace::unwinder

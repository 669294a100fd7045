#include "unwind.h"

#include <stdlib.h>

#include <optional>

#include "cfi.h"
#include "hash.h"

namespace socktrace::unwinder {

namespace {

bool begins(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  for (std::string_view other : names)
    if (name == other)
      return true;
  return false;
}

// Where threads begin, in C libraries whose assembler has no call frame information, and in Go.
bool is_first_function(std::string_view name) {
  return is_one_of(name, {"_start", "_start_c", "clone", "__clone", "clone3", "__clone3"});
}

bool is_first_go_function(std::string_view name) {
  return is_one_of(name, {"runtime.goexit", "runtime.rt0_go", "runtime.mstart", "runtime.mcall", "_rt0_amd64",
                          "_rt0_amd64_linux", "_rt0_arm64_linux"});
}

#if defined(__x86_64__)
constexpr uint64_t kLeastFrame = 8; // its return address
#else
constexpr uint64_t kLeastFrame = 0; // a leaf keeps it in a register
#endif

constexpr std::string_view kV8Interpreter = "Builtins_InterpreterEntryTrampoline";

class Walk {
public:
  Walk(const stack_sample *sample, Process &process) : process_(process), stack_(sample) {
    registers_.known = (uint64_t{1} << kRegisters) - 1;
    for (int i = 0; i < kRegisters; i++)
      registers_.value[i] = sample->registers[i];
  }
  Unwound run();

private:
  struct Stepped {
    Step step;
    FrameHow how;
    bool reliable;
  };
  const CodeRange *locate(uint64_t pc, bool is_call) const;
  void push(uint64_t pc, uint64_t return_address_at, FrameHow how, bool is_call, const CodeRange *range);
  Stepped step(UnwoundFrame &frame, const CodeRange &range, Caller *caller);
  Stepped step_module(UnwoundFrame &frame, Caller *caller);
  Stepped step_jit(const UnwoundFrame &frame, Caller *caller);
  Step step_frame_pointer(Caller *caller) const;
  Step step_python_trampoline(Caller *caller) const;
  Step step_go(int64_t frame_bytes, Caller *caller) const;
  bool take(uint64_t return_address_at, uint64_t sp, Step *step, Caller *caller) const;
  void note_runtimes();
  Unwound end(Step step);

  Process &process_;
  Stack stack_;
  Registers registers_{};
  Unwound result_{};
  bool unreliable_ = false;
};

// The instruction that a return address speaks of is the call before it: it may be the last one of its function.
const CodeRange *Walk::locate(uint64_t pc, bool is_call) const {
  return pc == 0 ? nullptr : process_.find(is_call ? pc - 1 : pc);
}

void Walk::push(uint64_t pc, uint64_t return_address_at, FrameHow how, bool is_call, const CodeRange *range) {
  UnwoundFrame frame = {pc, -1, nullptr, 0, {}, how, 0, is_call};
  uint64_t word;
  if (return_address_at && stack_.word(return_address_at, &word) == Read::kDone && word == pc)
    frame.return_offset = static_cast<int64_t>(return_address_at - stack_.pointer());
  uint64_t code = is_call ? pc - 1 : pc;
  if (range->is_jit()) {
    frame.flags |= kFrameJit;
    frame.jit_name = process_.perf_map().find(code);
    if (frame.jit_name == "Interpreter")
      frame.flags |= kFrameInterpreter;
  } else if (range->module) {
    frame.module = range->module;
    // Of a file that could not be read, the place in it.
    uint64_t address = code - range->start + range->file_offset;
    if (!range->module->is_elf() || range->module->address_of(address, &address))
      frame.address = address + (is_call ? 1 : 0);
    if (range->module->runtime() == Runtime::kOtherInterpreter)
      frame.flags |= kFrameInterpreter;
  }
  result_.frames.push_back(std::move(frame));
}

// Takes the caller's pc from a word of the stack.
bool Walk::take(uint64_t return_address_at, uint64_t sp, Step *step, Caller *caller) const {
  uint64_t pc;
  switch (stack_.word(return_address_at, &pc)) {
  case Read::kDone:
    break;
  case Read::kBeyond:
    *step = Step::kTruncated;
    return false;
  case Read::kUnread:
    *step = Step::kUnread;
    return false;
  case Read::kOutside:
    *step = Step::kLost;
    return false;
  }
  caller->return_address_at = return_address_at;
  caller->interrupted = false;
  caller->registers.set(kProgramCounter, pc);
  caller->registers.set(kStackPointer, sp);
  *step = Step::kDone;
  return true;
}

Step Walk::step_frame_pointer(Caller *caller) const {
  // What such code does with the other registers is not known.
  caller->registers.known = 0;
  if (!registers_.knows(kFramePointer))
    return Step::kLost;
  uint64_t frame = registers_.value[kFramePointer], next;
  Step step;
  if (frame < registers_.sp() || frame % 8 != 0 || !take(frame + 8, frame + 16, &step, caller))
    return frame < registers_.sp() || frame % 8 != 0 ? Step::kLost : step;
  if (stack_.word(frame, &next) == Read::kDone)
    caller->registers.set(kFramePointer, next);
  return Step::kDone;
}

// CPython's perf trampoline is a call in a frame of 16 bytes; newer ones keep the frame pointer in the lower word.
Step Walk::step_python_trampoline(Caller *caller) const {
  Step step;
  uint64_t next, sp = registers_.sp();
  caller->registers = registers_;
  if (!take(sp + 8, sp + 16, &step, caller))
    return step;
  if (registers_.knows(kFramePointer) && registers_.value[kFramePointer] == sp &&
      stack_.word(sp, &next) == Read::kDone)
    caller->registers.set(kFramePointer, next);
  return Step::kDone;
}

// Go's own table says how far the return address is from the stack pointer; below it is the frame pointer.
Step Walk::step_go(int64_t frame_bytes, Caller *caller) const {
  Step step;
  uint64_t next, at = registers_.sp() + static_cast<uint64_t>(frame_bytes);
  caller->registers.known = 0;
  if (!take(at, at + 8, &step, caller))
    return step;
  if (frame_bytes >= 8 && stack_.word(at - 8, &next) == Read::kDone)
    caller->registers.set(kFramePointer, next);
  else if (frame_bytes == 0 && registers_.knows(kFramePointer))
    caller->registers.set(kFramePointer, registers_.value[kFramePointer]);
  return Step::kDone;
}

Walk::Stepped Walk::step_module(UnwoundFrame &frame, Caller *caller) {
  ElfModule &module = *frame.module;
  uint64_t code = frame.address - (frame.is_call ? 1 : 0);
  if (Dwarf_Frame *rules = module.frame_rules(code)) {
    Step step = step_by_rules(rules, registers_, stack_, caller);
    free(rules);
    return {step, FrameHow::kCfi, true};
  }
#if defined(__x86_64__)
  if (module.runtime() == Runtime::kGo) {
    std::optional<GoTable::Function> function = module.go_table().find(code);
    if (function && is_first_go_function(function->name))
      return {Step::kOutermost, FrameHow::kCfi, true};
    if (function && function->frame_bytes >= 0)
      return {step_go(function->frame_bytes, caller), FrameHow::kCfi, true};
  }
#endif
  std::string_view name = module.symbol(code);
  if (is_first_function(name))
    return {Step::kOutermost, FrameHow::kCfi, true};
  if (name == kV8Interpreter)
    frame.flags |= kFrameInterpreter;
  // V8's builtins keep frame pointers, and so does Go.
  bool keeps = begins(name, "Builtins_") || module.runtime() == Runtime::kGo;
  return {step_frame_pointer(caller), keeps ? FrameHow::kFramePointer : FrameHow::kGuess, keeps};
}

Walk::Stepped Walk::step_jit(const UnwoundFrame &frame, Caller *caller) {
  if (begins(frame.jit_name, "py::"))
    return {step_python_trampoline(caller), FrameHow::kCfi, true};
  bool keeps = process_.has(Runtime::kV8);
  if (process_.has(Runtime::kJvm)) {
    // The interpreter and the stubs always keep them.
    keeps = (process_.flags() & kKeepsFramePointers) || frame.jit_name == "Interpreter" ||
            begins(frame.jit_name, "StubRoutines");
    if (!keeps)
      result_.notes |= kNoteJavaFramePointers;
  }
  return {step_frame_pointer(caller), keeps ? FrameHow::kFramePointer : FrameHow::kGuess, keeps};
}

Walk::Stepped Walk::step(UnwoundFrame &frame, const CodeRange &range, Caller *caller) {
  if (range.is_jit())
    return step_jit(frame, caller);
  if (frame.module && frame.module->is_elf())
    return step_module(frame, caller);
  return {step_frame_pointer(caller), FrameHow::kGuess, false};
}

// What would tell more, of the languages that were met.
void Walk::note_runtimes() {
  bool python = false, python_named = false, interpreter = false, unnamed = false;
  for (const UnwoundFrame &frame : result_.frames) {
    python |= frame.module && frame.module->runtime() == Runtime::kPython;
    python_named |= begins(frame.jit_name, "py::");
    unnamed |= (frame.flags & kFrameJit) && frame.jit_name.empty();
    interpreter |= (frame.flags & kFrameInterpreter) && frame.module;
  }
  result_.met_unnamed = unnamed;
  if (python && !python_named) {
    result_.notes |= kNotePython;
    for (UnwoundFrame &frame : result_.frames)
      if (frame.module && frame.module->runtime() == Runtime::kPython)
        frame.flags |= kFrameInterpreter;
  }
  if (process_.has(Runtime::kV8) && (unnamed || interpreter))
    result_.notes |= kNoteNode;
  else if (process_.has(Runtime::kJvm) && unnamed)
    result_.notes |= kNoteJavaNames;
  else if (unnamed)
    result_.notes |= kNoteUnnamedJit;
}

Unwound Walk::end(Step step) {
  bool only_leaf = result_.frames.size() <= 1;
  if (step == Step::kLost && !stack_.is_inside(registers_.sp())) {
    result_.notes |= kNoteOtherStack;
    step = Step::kTruncated;
  }
  if (step == Step::kUnread)
    result_.notes |= kNoteUnreadStack;
  if (step == Step::kTruncated || step == Step::kUnread)
    result_.quality = PathQuality::kTruncated;
  else if (step == Step::kLost)
    result_.quality = only_leaf ? PathQuality::kUnreadable : PathQuality::kUnreliable;
  else
    result_.quality = PathQuality::kComplete;
  if (unreliable_ && result_.quality != PathQuality::kUnreadable)
    result_.quality = PathQuality::kUnreliable;
  note_runtimes();
  result_.notes |= process_.notes();
  return std::move(result_);
}

Unwound Walk::run() {
  const CodeRange *range = locate(registers_.pc(), false);
  if (!range) {
    result_.met_unmapped = true;
    return end(Step::kLost);
  }
  push(registers_.pc(), 0, FrameHow::kLeaf, false, range);
  for (;;) {
    if (result_.frames.size() >= kMaxPathFrames)
      return end(Step::kTruncated);
    Caller caller;
    Stepped stepped = step(result_.frames.back(), *range, &caller);
    if (stepped.step != Step::kDone)
      return end(stepped.step);
    uint64_t pc = caller.registers.pc();
    // Nobody called: how some runtimes end a stack that they made themselves.
    if (pc == 0)
      return end(stepped.reliable ? Step::kOutermost : Step::kLost);
    bool is_call = !caller.interrupted;
    range = locate(pc, is_call);
    if (!range) {
      result_.met_unmapped = true;
      return end(Step::kLost);
    }
    // A signal handler may have a stack of its own, anywhere.
    if (!caller.interrupted && caller.registers.sp() < registers_.sp() + kLeastFrame)
      return end(Step::kLost);
    unreliable_ |= !stepped.reliable;
    registers_ = caller.registers;
    push(pc, caller.return_address_at, stepped.how, is_call, range);
  }
}

} // namespace

Unwound unwind(const stack_sample *sample, Process &process) {
  return Walk(sample, process).run();
}

uint64_t path_fingerprint(const std::vector<UnwoundFrame> &frames) {
  Hash hash;
  bool after_unnamed = false;
  for (const UnwoundFrame &frame : frames) {
    // Where code was generated differs from run to run; without a name one is not to be told from another, and how many
    // follow each other hangs on what the compiler has inlined by now.
    bool unnamed = (frame.flags & kFrameJit) && frame.jit_name.empty();
    if (unnamed && after_unnamed)
      continue;
    after_unnamed = unnamed;
    hash.add(frame.module ? frame.module->identity() : 0);
    if (frame.flags & kFrameJit)
      hash.add(frame.jit_name);
    else
      hash.add(frame.address);
  }
  return hash.value() ? hash.value() : 1;
}

} // namespace socktrace::unwinder

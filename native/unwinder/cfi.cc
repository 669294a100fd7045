#include "cfi.h"

#include <dwarf.h>

#include <optional>
#include <vector>

namespace socktrace::unwinder {

namespace {

constexpr int kMaxSteps = 2000; // an expression may have a loop
constexpr size_t kMaxDepth = 64;

// Evaluates a DWARF expression of call frame information.
class Expression {
public:
  Expression(const Registers &registers, const Stack &stack, std::optional<uint64_t> cfa)
      : registers_(registers), stack_(stack), cfa_(cfa) {}

  // False: not to be had; why() says whether more of the stack would have helped.
  bool evaluate(const Dwarf_Op *ops, size_t count, uint64_t *result);
  bool is_value() const {
    return is_value_;
  }
  Step why() const {
    return why_;
  }

private:
  bool pop(uint64_t *value) {
    if (depth_.empty())
      return false;
    *value = depth_.back();
    depth_.pop_back();
    return true;
  }
  bool push(uint64_t value) {
    depth_.push_back(value);
    return depth_.size() <= kMaxDepth;
  }
  bool push_register(uint64_t number, uint64_t offset) {
    return number < kRegisters && registers_.knows(static_cast<int>(number)) &&
           push(registers_.value[number] + offset);
  }
  bool load(uint64_t address, unsigned size);
  bool binary(unsigned atom);
  bool apply(const Dwarf_Op &op);
  bool shuffle(const Dwarf_Op &op);

  const Registers &registers_;
  const Stack &stack_;
  std::optional<uint64_t> cfa_;
  std::vector<uint64_t> depth_;
  bool is_value_ = false;
  Step why_ = Step::kLost;
};

Step step_of(Read read) {
  switch (read) {
  case Read::kDone:
    return Step::kDone;
  case Read::kBeyond:
    return Step::kTruncated;
  case Read::kUnread:
    return Step::kUnread;
  case Read::kOutside:
    break;
  }
  return Step::kLost;
}

bool Expression::load(uint64_t address, unsigned size) {
  uint64_t value;
  if (size == 0 || size > 8)
    return false;
  why_ = step_of(stack_.word(address, &value));
  if (why_ != Step::kDone)
    return false;
  why_ = Step::kLost;
  return push(size == 8 ? value : value & ((uint64_t{1} << (8 * size)) - 1));
}

bool Expression::binary(unsigned atom) {
  uint64_t b, a;
  if (!pop(&b) || !pop(&a))
    return false;
  auto left = static_cast<int64_t>(a), right = static_cast<int64_t>(b);
  switch (atom) {
  case DW_OP_plus:
    return push(a + b);
  case DW_OP_minus:
    return push(a - b);
  case DW_OP_mul:
    return push(a * b);
  case DW_OP_and:
    return push(a & b);
  case DW_OP_or:
    return push(a | b);
  case DW_OP_xor:
    return push(a ^ b);
  case DW_OP_div:
    return right != 0 && !(left == INT64_MIN && right == -1) && push(static_cast<uint64_t>(left / right));
  case DW_OP_mod:
    return b != 0 && push(a % b);
  case DW_OP_shl:
    return push(b < 64 ? a << b : 0);
  case DW_OP_shr:
    return push(b < 64 ? a >> b : 0);
  case DW_OP_shra:
    return push(static_cast<uint64_t>(left >> (b < 63 ? b : 63)));
  case DW_OP_eq:
    return push(left == right);
  case DW_OP_ne:
    return push(left != right);
  case DW_OP_lt:
    return push(left < right);
  case DW_OP_le:
    return push(left <= right);
  case DW_OP_gt:
    return push(left > right);
  case DW_OP_ge:
    return push(left >= right);
  default:
    return false;
  }
}

bool Expression::shuffle(const Dwarf_Op &op) {
  uint64_t a;
  size_t size = depth_.size();
  switch (op.atom) {
  case DW_OP_dup:
    return size >= 1 && push(depth_[size - 1]);
  case DW_OP_over:
    return size >= 2 && push(depth_[size - 2]);
  case DW_OP_pick:
    return op.number < size && push(depth_[size - 1 - op.number]);
  case DW_OP_drop:
    return pop(&a);
  case DW_OP_swap:
    if (size < 2)
      return false;
    std::swap(depth_[size - 1], depth_[size - 2]);
    return true;
  case DW_OP_rot:
    if (size < 3)
      return false;
    std::swap(depth_[size - 1], depth_[size - 2]);
    std::swap(depth_[size - 2], depth_[size - 3]);
    return true;
  case DW_OP_neg:
    return pop(&a) && push(uint64_t{0} - a);
  case DW_OP_not:
    return pop(&a) && push(~a);
  case DW_OP_abs:
    return pop(&a) && push(static_cast<int64_t>(a) < 0 ? uint64_t{0} - a : a);
  case DW_OP_plus_uconst:
    return pop(&a) && push(a + op.number);
  default:
    return binary(op.atom);
  }
}

bool Expression::apply(const Dwarf_Op &op) {
  if (op.atom >= DW_OP_lit0 && op.atom <= DW_OP_lit31)
    return push(op.atom - DW_OP_lit0);
  if (op.atom >= DW_OP_breg0 && op.atom <= DW_OP_breg31)
    return push_register(op.atom - DW_OP_breg0, op.number);
  if (op.atom >= DW_OP_reg0 && op.atom <= DW_OP_reg31) {
    is_value_ = true;
    return push_register(op.atom - DW_OP_reg0, 0);
  }
  uint64_t address;
  switch (op.atom) {
  case DW_OP_const1u:
  case DW_OP_const1s:
  case DW_OP_const2u:
  case DW_OP_const2s:
  case DW_OP_const4u:
  case DW_OP_const4s:
  case DW_OP_const8u:
  case DW_OP_const8s:
  case DW_OP_constu:
  case DW_OP_consts:
    return push(op.number);
  case DW_OP_regx:
    is_value_ = true;
    return push_register(op.number, 0);
  case DW_OP_bregx:
    return push_register(op.number, op.number2);
  case DW_OP_deref:
    return pop(&address) && load(address, 8);
  case DW_OP_deref_size:
    return pop(&address) && load(address, static_cast<unsigned>(op.number));
  case DW_OP_call_frame_cfa:
    return cfa_ && push(*cfa_);
  case DW_OP_stack_value:
    is_value_ = true;
    return true;
  case DW_OP_nop:
    return true;
  default:
    return shuffle(op);
  }
}

bool Expression::evaluate(const Dwarf_Op *ops, size_t count, uint64_t *result) {
  size_t next = 0;
  for (int step = 0; next < count; step++) {
    if (step >= kMaxSteps)
      return false;
    const Dwarf_Op &op = ops[next];
    bool jumps = op.atom == DW_OP_skip;
    if (op.atom == DW_OP_bra) {
      uint64_t condition;
      if (!pop(&condition))
        return false;
      jumps = condition != 0;
    } else if (!jumps && !apply(op)) {
      return false;
    }
    if (!jumps) {
      next++;
      continue;
    }
    // The operand counts from the end of the three-byte operation.
    uint64_t target = op.offset + 3 + static_cast<uint64_t>(static_cast<int16_t>(op.number));
    for (next = 0; next < count && ops[next].offset != target;)
      next++;
  }
  return pop(result);
}

} // namespace

Step step_by_rules(Dwarf_Frame *rules, const Registers &callee, const Stack &stack, Caller *caller) {
  bool interrupted = false;
  int return_register = dwarf_frame_info(rules, nullptr, nullptr, &interrupted);
  if (return_register < 0 || return_register >= kRegisters)
    return Step::kLost;
  Dwarf_Op *ops;
  size_t count;
  uint64_t cfa;
  if (dwarf_frame_cfa(rules, &ops, &count) || count == 0)
    return Step::kLost;
  Expression for_cfa(callee, stack, std::nullopt);
  if (!for_cfa.evaluate(ops, count, &cfa))
    return for_cfa.why();

  caller->registers = callee;
  caller->return_address_at = 0;
  caller->interrupted = interrupted;
  for (int number = 0; number < kRegisters; number++) {
    Dwarf_Op memory[3];
    if (dwarf_frame_register(rules, number, memory, &ops, &count))
      return Step::kLost;
    bool undefined = count == 0 && ops == memory, same = count == 0 && ops != memory;
    if (undefined && number == return_register)
      return Step::kOutermost;
    if (same)
      continue;
    Expression rule(callee, stack, cfa);
    uint64_t value, where;
    bool found = !undefined && rule.evaluate(ops, count, &where);
    Step read = Step::kDone;
    if (found && !rule.is_value()) {
      read = step_of(stack.word(where, &value));
      found = read == Step::kDone;
    } else if (found) {
      value = where;
    } else if (!undefined) {
      read = rule.why();
    }
    if (found)
      caller->registers.set(number, value);
    else
      caller->registers.lose(number);
    if (number != return_register)
      continue;
    if (!found)
      return read == Step::kDone ? Step::kLost : read;
    if (!rule.is_value())
      caller->return_address_at = where;
  }
  // The stack pointer has no rule of its own: it is where the frame ends. A signal's frame restores it.
  if (!interrupted || !caller->registers.knows(kStackPointer) || caller->registers.sp() == callee.sp())
    caller->registers.set(kStackPointer, cfa);
  caller->registers.set(kProgramCounter, caller->registers.value[return_register]);
  return Step::kDone;
}

} // namespace socktrace::unwinder

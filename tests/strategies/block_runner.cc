#include "tests/strategies/block_runner.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <sstream>

namespace shardscout::interpret {
namespace {

bool IsRouted(const Value& value) {
  return value.tokens == TokenSplit::kRouted || value.tokens == TokenSplit::kRoutedBlock ||
         (value.ffn == FfnKind::kExpert && (value.kind == TensorKind::kGate || value.kind == TensorKind::kFfn));
}

std::string Describe(const Value& value) {
  std::ostringstream out;
  out << ToString(value.kind) << " {" << ToString(value.tokens) << ", " << ToString(value.features) << ", partial "
      << int{value.partial} << (value.last_only ? ", last" : "") << (value.interleaved ? ", interleaved" : "") << "}";
  return out.str();
}

}  // namespace

Eigen::Index FindColumns(const Tags& columns, Tag first, std::int64_t count) {
  const auto found = std::lower_bound(columns.begin(), columns.end(), first);
  const auto index = found - columns.begin();
  if (found == columns.end() || *found != first) return -1;
  const std::int64_t last = index + count - 1;
  if (last >= static_cast<std::int64_t>(columns.size())) return -1;
  return columns[static_cast<std::size_t>(last)] == first + count - 1 ? index : -1;
}

void BlockRunner::Fail(const std::string& message) const { throw InterpretError(where_ + ": " + message); }

const Value& BlockRunner::ValueOf(ValueId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= block_->values.size()) Fail("a value that does not exist");
  return block_->values[static_cast<std::size_t>(id)];
}

const Held& BlockRunner::HeldOf(ValueId id) const {
  ValueOf(id);
  const Held& held = held_[static_cast<std::size_t>(id)];
  if (held.at.empty()) Fail("reads a value that no task before it defines");
  return held;
}

void BlockRunner::Define(ValueId id, Held held) {
  const Value& value = ValueOf(id);
  if (!held_[static_cast<std::size_t>(id)].at.empty()) Fail("defines a value a second time");
  CheckValue(value, held);
  held_[static_cast<std::size_t>(id)] = std::move(held);
}

void BlockRunner::CheckTags(const Value& value, std::int64_t rank, const Local& local) const {
  const TagsPtr rows = layouts_.LocalTokens(value, rank);
  const TagsPtr columns = layouts_.LocalColumns(value, rank);
  if (local.rows != rows && *local.rows != *rows) {
    Fail("rank " + std::to_string(rank) + " holds " + std::to_string(local.rows->size()) +
         " rows that are not the layout's " + std::to_string(rows->size()) + " of " + Describe(value));
  }
  if (local.columns != columns && *local.columns != *columns) {
    Fail("rank " + std::to_string(rank) + " holds " + std::to_string(local.columns->size()) +
         " columns that are not the layout's " + std::to_string(columns->size()) + " of " + Describe(value));
  }
  if (local.data.rows() != static_cast<Eigen::Index>(rows->size()) ||
      local.data.cols() != static_cast<Eigen::Index>(columns->size())) {
    Fail("interpreter: data and tags differ in size");
  }
}

bool BlockRunner::SameSummands(std::uint8_t a, std::uint8_t b) const {
  if (a == b) return true;
  for (std::int64_t rank = 0; rank < layouts_.Ranks(); ++rank) {
    if (layouts_.Summands(a, rank) != layouts_.Summands(b, rank)) return false;
  }
  return true;
}

void BlockRunner::CheckReduction(std::uint8_t in, std::uint8_t out, const Group& group) const {
  for (std::int64_t rank = 0; rank < layouts_.Ranks(); ++rank) {
    std::uint64_t joined = 0;
    for (std::int64_t member : layouts_.Members(group, rank)) joined |= layouts_.Summands(out, member);
    const std::uint64_t summands = layouts_.Summands(in, rank);
    if (joined != summands || std::popcount(summands) != group.size * std::popcount(layouts_.Summands(out, rank))) {
      Fail("the group reduced is not what the input is partial over (partial " + std::to_string(int{in}) + " to " +
           std::to_string(int{out}) + ", group " + std::to_string(group.size) + " stride " +
           std::to_string(group.stride) + ")");
    }
  }
}

void BlockRunner::CheckValue(const Value& value, const Held& held) {
  double rows = 0, width = 0;
  for (std::int64_t rank = 0; rank < layouts_.Ranks(); ++rank) {
    const Local& local = *held.at[static_cast<std::size_t>(rank)];
    CheckTags(value, rank, local);
    rows = std::max(rows, static_cast<double>(local.rows->size()));
    width = std::max(width, static_cast<double>(local.columns->size()) / static_cast<double>(value.copies));
    if (!local.data.allFinite() && value.kind != TensorKind::kLse) Fail("not finite");
  }
  if (!IsRouted(value) && rows != value.rows) {
    Fail(Describe(value) + " says " + std::to_string(value.rows) + " rows, the fullest rank holds " +
         std::to_string(rows));
  }
  if (width != value.width) {
    Fail(Describe(value) + " says width " + std::to_string(value.width) + ", a rank holds " + std::to_string(width));
  }
  if (!SameSummands(value.partial, held.partial)) {
    Fail(Describe(value) + " is really partial " + std::to_string(int{held.partial}));
  }
}

double BlockRunner::SentBytes(const Value& value, const Held& held) const {
  Eigen::Index most = 0;
  for (const LocalPtr& local : held.at) most = std::max(most, local->data.size());
  return static_cast<double>(most) * BytesPerElement(value.dtype);
}

void BlockRunner::CheckWeights(const Block& block) const {
  std::map<std::pair<WeightKind, FfnKind>, double> stored;
  for (const Weight& weight : block.weights) {
    if (weight.kind != WeightKind::kNorms) stored[{weight.kind, weight.ffn}] += weight.elements;
  }
  for (const auto& [key, elements] : used_) {
    const auto found = stored.find(key);
    const double held = found == stored.end() ? 0 : found->second;
    if (std::abs(held - elements) > 0.5) {
      Fail(std::string("uses ") + std::to_string(elements) + " elements of weight " + std::string(ToString(key.first)) +
           " and stores " + std::to_string(held));
    }
  }
  for (const auto& [key, elements] : stored) {
    if (elements > 0 && used_.find(key) == used_.end()) {
      Fail(std::string("stores but never uses weight ") + std::string(ToString(key.first)));
    }
  }
}

Held BlockRunner::Run(const Block& block, Held input, const std::string& where) {
  block_ = &block;
  held_.assign(block.values.size(), Held{});
  used_.clear();
  where_ = where + ", input";
  Define(block.input, std::move(input));
  for (std::size_t i = 0; i < block.tasks.size(); ++i) {
    const Task& task = block.tasks[i];
    const std::string_view name = task.kind == TaskKind::kCollective ? ToString(task.collective) : ToString(task.kind);
    where_ =
        where + ", task " + std::to_string(i) + " (" + std::string(ToString(task.op)) + " " + std::string(name) + ")";
    try {
      if (task.kind == TaskKind::kCollective) {
        RunCollective(task);
      } else {
        RunCompute(task);
      }
    } catch (const InterpretError& error) {
      const std::string message = error.what();
      if (message.rfind(where_, 0) == 0) throw;
      Fail(message);
    }
  }
  where_ = where + ", output";
  Held output = HeldOf(block.output);
  if (output.unmerged != kPartialNone) Fail("attention outputs were never merged");
  where_ = where;
  CheckWeights(block);
  return output;
}

}  // namespace shardscout::interpret

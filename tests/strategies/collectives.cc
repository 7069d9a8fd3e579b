#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {
namespace {

bool IsRouted(TokenSplit split) { return split == TokenSplit::kRouted || split == TokenSplit::kRoutedBlock; }

/// Index pairs of the tags that two rising lists share.
void Shared(const Tags& a, const Tags& b, std::vector<Eigen::Index>* in_a, std::vector<Eigen::Index>* in_b) {
  in_a->clear();
  in_b->clear();
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (a[i] < b[j]) {
      ++i;
    } else if (b[j] < a[i]) {
      ++j;
    } else {
      in_a->push_back(static_cast<Eigen::Index>(i++));
      in_b->push_back(static_cast<Eigen::Index>(j++));
    }
  }
}

bool Near(double a, double b) { return a == b || std::abs(a - b) <= 1e-9 * std::max(1.0, std::abs(a)); }

/// A matrix being put together from parts.
struct Assembly {
  Local local;
  std::vector<std::uint8_t> filled;  // By element, column-major.
  std::vector<std::uint8_t> has_meta;

  Assembly(TagsPtr rows, TagsPtr columns, Eigen::Index meta_columns) {
    local.rows = std::move(rows);
    local.columns = std::move(columns);
    local.data =
        Matrix::Zero(static_cast<Eigen::Index>(local.rows->size()), static_cast<Eigen::Index>(local.columns->size()));
    local.meta = Matrix::Zero(local.data.rows(), meta_columns);
    filled.assign(static_cast<std::size_t>(local.data.size()), 0);
    has_meta.assign(local.rows->size(), 0);
  }
  bool Complete() const {
    return std::all_of(filled.begin(), filled.end(), [](std::uint8_t f) { return f != 0; });
  }
};

enum class OnOverlap { kAdd, kMustAgree };

/// Puts what `part` has of the assembly into it. Returns the elements moved, or -1 where two parts disagree.
Eigen::Index Put(const Local& part, OnOverlap overlap, Assembly* to, Eigen::Index* overlaps) {
  std::vector<Eigen::Index> from_rows, to_rows, from_columns, to_columns;
  Shared(*part.rows, *to->local.rows, &from_rows, &to_rows);
  Shared(*part.columns, *to->local.columns, &from_columns, &to_columns);
  for (std::size_t j = 0; j < from_columns.size(); ++j) {
    const Eigen::Index base = to_columns[j] * to->local.data.rows();
    for (std::size_t i = 0; i < from_rows.size(); ++i) {
      const double x = part.data(from_rows[i], from_columns[j]);
      double& y = to->local.data(to_rows[i], to_columns[j]);
      std::uint8_t& filled = to->filled[static_cast<std::size_t>(base + to_rows[i])];
      if (filled == 0) {
        y = x;
      } else if (overlap == OnOverlap::kAdd) {
        y += x;
      } else if (Near(x, y)) {
        ++*overlaps;
      } else {
        return -1;
      }
      filled = 1;
    }
  }
  if (part.meta.cols() > 0) {
    for (std::size_t i = 0; i < from_rows.size(); ++i) {
      std::uint8_t& has_meta = to->has_meta[static_cast<std::size_t>(to_rows[i])];
      for (Eigen::Index k = 0; k < part.meta.cols(); ++k) {
        double& y = to->local.meta(to_rows[i], k);
        if (has_meta != 0 && !Near(y, part.meta(from_rows[i], k))) return -1;
        y = part.meta(from_rows[i], k);
      }
      has_meta = 1;
    }
  }
  return static_cast<Eigen::Index>(from_rows.size() * from_columns.size());
}

TagsPtr UnionOf(const std::vector<const Local*>& members, TagsPtr Local::*tags) {
  bool same = true;
  for (const Local* member : members) same = same && member->*tags == members.front()->*tags;
  if (same) return members.front()->*tags;
  Tags all;
  for (const Local* member : members) all.insert(all.end(), (member->*tags)->begin(), (member->*tags)->end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return std::make_shared<const Tags>(std::move(all));
}

}  // namespace

Local BlockRunner::Sum(const std::vector<const Local*>& members) const {
  Local sum = *members.front();
  for (std::size_t i = 1; i < members.size(); ++i) {
    const Local& member = *members[i];
    if ((member.rows != sum.rows && *member.rows != *sum.rows) ||
        (member.columns != sum.columns && *member.columns != *sum.columns)) {
      Fail("the members of a reduction hold different rows or columns");
    }
    if (member.meta.size() != sum.meta.size() || (sum.meta.size() > 0 && !sum.meta.isApprox(member.meta, 1e-9))) {
      Fail("the members of a reduction disagree on the routing");
    }
    sum.data += member.data;
  }
  return sum;
}

Local BlockRunner::Union(const std::vector<const Local*>& members, bool copies_allowed) const {
  Assembly assembly(UnionOf(members, &Local::rows), UnionOf(members, &Local::columns), members.front()->meta.cols());
  Eigen::Index overlaps = 0;
  for (const Local* member : members) {
    if (Put(*member, OnOverlap::kMustAgree, &assembly, &overlaps) < 0) {
      Fail("members hold different values of one element");
    }
  }
  if (!assembly.Complete()) Fail("what the members hold together has holes");
  if (overlaps > 0 && !copies_allowed) Fail("members hold the same elements: the gather is redundant");
  return std::move(assembly.local);
}

Local BlockRunner::StackCopies(const std::vector<const Local*>& members) const {
  Local stacked;
  stacked.rows = members.front()->rows;
  Tags columns;
  const Eigen::Index width = members.front()->data.cols();
  stacked.data.resize(members.front()->data.rows(), width * static_cast<Eigen::Index>(members.size()));
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (*members[i]->rows != *stacked.rows || *members[i]->columns != *members.front()->columns) {
      Fail("the members of a stacking gather hold different rows or columns");
    }
    for (Tag column : *members[i]->columns) columns.push_back(static_cast<Tag>(i) * kCopyStride + column);
    stacked.data.middleCols(static_cast<Eigen::Index>(i) * width, width) = members[i]->data;
  }
  stacked.columns = std::make_shared<const Tags>(std::move(columns));
  return stacked;
}

Local BlockRunner::Cut(const Local& local, const TagsPtr& rows, const TagsPtr& columns) const {
  if (local.rows == rows && local.columns == columns) return local;
  std::vector<Eigen::Index> from_rows, from_columns, to;
  Shared(*local.rows, *rows, &from_rows, &to);
  if (to.size() != rows->size()) Fail("rows that the output needs are missing");
  Shared(*local.columns, *columns, &from_columns, &to);
  if (to.size() != columns->size()) Fail("columns that the output needs are missing");
  Local cut;
  cut.rows = rows;
  cut.columns = columns;
  cut.data = local.data(from_rows, from_columns);
  if (local.meta.cols() > 0) cut.meta = local.meta(from_rows, Eigen::all);
  return cut;
}

void BlockRunner::ExchangeGroup(const Task& task, const Value& in, const Held& from, const Value& out, bool reduce,
                                const std::vector<std::int64_t>& members, Held* to, std::vector<double>* elements) {
  std::vector<const Local*> parts;
  for (std::int64_t member : members) parts.push_back(from.at[static_cast<std::size_t>(member)].get());
  const bool of_kv =
      in.kind == TensorKind::kQkv || in.kind == TensorKind::kGatedQkv || in.kind == TensorKind::kKeyValue;
  const bool kv_copies =
      (of_kv && model_.attention.kind == AttentionKind::kGrouped &&
       strategy_.tensor_parallel_size > model_.attention.num_kv_heads) ||
      (in.kind == TensorKind::kLinearQkv && strategy_.tensor_parallel_size > model_.linear_attention.num_key_heads);
  const bool routed = IsRouted(in.tokens) || IsRouted(out.tokens) || in.ffn == FfnKind::kExpert;
  auto set_all = [&](Local local) {
    const auto shared = std::make_shared<const Local>(std::move(local));
    for (std::int64_t member : members) to->at[static_cast<std::size_t>(member)] = shared;
  };
  auto add_elements = [&](double amount) {
    for (std::int64_t member : members) (*elements)[static_cast<std::size_t>(member)] += amount;
  };
  double held_by_all = 0;
  for (const Local* part : parts) held_by_all += static_cast<double>(part->data.size());
  switch (task.collective) {
    case Collective::kAllReduce: {
      Local sum = Sum(parts);
      add_elements(static_cast<double>(sum.data.size()));
      set_all(std::move(sum));
      return;
    }
    case Collective::kAllGather:
      add_elements(held_by_all);
      if (in.kind == TensorKind::kLse && out.copies == in.copies * task.group.size) {
        set_all(StackCopies(parts));
      } else {
        set_all(Union(parts, kv_copies || routed));
      }
      return;
    case Collective::kReduceScatter: {
      const Local sum = Sum(parts);
      double kept = 0;
      std::size_t smallest = sum.rows->size() * sum.columns->size(), largest = 0;
      Assembly covered(sum.rows, sum.columns, 0);
      Eigen::Index overlaps = 0;
      for (std::int64_t member : members) {
        Local part = Cut(sum, layouts_.LocalTokens(out, member), layouts_.LocalColumns(out, member));
        const auto size = static_cast<std::size_t>(part.data.size());
        smallest = std::min(smallest, size);
        largest = std::max(largest, size);
        kept += static_cast<double>(size);
        Local plain = part;
        plain.meta.resize(0, 0);
        Put(plain, OnOverlap::kMustAgree, &covered, &overlaps);
        to->at[static_cast<std::size_t>(member)] = std::make_shared<const Local>(std::move(part));
      }
      if (!covered.Complete()) Fail("a reduce-scatter whose results do not cover its input");
      if (overlaps > 0 && !kv_copies) Fail("a reduce-scatter whose results overlap");
      if (smallest != largest && !routed && !out.last_only) Fail("a reduce-scatter into unequal parts");
      add_elements(kept);
      return;
    }
    case Collective::kAllToAll: {
      std::vector<double> sent(members.size(), 0);
      for (std::int64_t member : members) {
        Assembly wanted(layouts_.LocalTokens(out, member), layouts_.LocalColumns(out, member),
                        parts.front()->meta.cols());
        Eigen::Index overlaps = 0;
        for (std::size_t i = 0; i < parts.size(); ++i) {
          const Eigen::Index moved =
              Put(*parts[i], reduce ? OnOverlap::kAdd : OnOverlap::kMustAgree, &wanted, &overlaps);
          if (moved < 0) Fail("members hold different values of one element");
          const bool empty = parts[i]->data.size() == 0 || wanted.filled.empty();
          if (moved == 0 && !routed && !empty) Fail("an all-to-all between ranks that have nothing for each other");
          sent[i] += static_cast<double>(moved);
        }
        if (!wanted.Complete()) Fail("rank " + std::to_string(member) + " does not get all that its layout says");
        if (overlaps > 0 && !kv_copies) Fail("an element is sent by two members");
        to->at[static_cast<std::size_t>(member)] = std::make_shared<const Local>(std::move(wanted.local));
      }
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (!routed && sent[i] < static_cast<double>(parts[i]->data.size())) {
          Fail("an all-to-all that leaves a part of its input unused");
        }
        if (reduce && sent[i] != static_cast<double>(parts[i]->data.size())) {
          Fail("an adding all-to-all must send each element once");
        }
        (*elements)[static_cast<std::size_t>(members[i])] += sent[i];
      }
      return;
    }
    case Collective::kNone:
    case Collective::kSendRecv:
      Fail("a collective that has no place inside a stage");
  }
}

Held BlockRunner::Exchange(const Task& task, ValueId input, ValueId output, std::vector<double>* payload_bytes) {
  const Value& in = ValueOf(input);
  const Value& out = ValueOf(output);
  const Held& from = HeldOf(input);
  if (in.kind != out.kind || in.ffn != out.ffn) Fail("a collective changes what its value is");
  if (in.dtype != out.dtype) Fail("a collective changes the data type");
  const bool must_reduce = task.collective == Collective::kAllReduce || task.collective == Collective::kReduceScatter;
  const bool reduce =
      must_reduce || (task.collective == Collective::kAllToAll && !SameSummands(from.partial, out.partial));
  const bool leaves = IsRouted(in.tokens), enters = IsRouted(out.tokens);
  if (reduce && !must_reduce && (!leaves || enters || in.features != out.features))
    Fail("only tokens that come back from experts are added up on arrival");
  if (task.collective == Collective::kAllToAll && (leaves || enters)) {
    // Ranks outside an ep group (between routed tokens: etp group) have nothing for each other, so that too large a
    // group would not show.
    const PartialOver axis = leaves && enters ? kPartialExpertTensor : kPartialExpert;
    for (std::int64_t rank = 0; rank < layouts_.Ranks(); ++rank) {
      if (layouts_.MemberMask(task.group, rank) != layouts_.Summands(axis, rank)) {
        Fail("routed tokens are exchanged over another group than their experts'");
      }
    }
  }
  if (reduce) {
    CheckReduction(from.partial, out.partial, task.group);
  } else if (!SameSummands(from.partial, out.partial)) {
    Fail("a collective that adds nothing changes the partial flags");
  }
  Held to;
  to.partial = out.partial;
  to.unmerged = from.unmerged;
  to.at.resize(from.at.size());
  std::vector<double> elements(from.at.size(), 0);
  for (std::int64_t rank = 0; rank < layouts_.Ranks(); ++rank) {
    const std::vector<std::int64_t> members = layouts_.Members(task.group, rank);
    if (members.front() == rank) ExchangeGroup(task, in, from, out, reduce, members, &to, &elements);
  }
  for (std::size_t i = 0; i < elements.size(); ++i) (*payload_bytes)[i] += elements[i] * BytesPerElement(in.dtype);
  return to;
}

void BlockRunner::RunCollective(const Task& task) {
  if (task.group.size < 2) Fail("a collective over one rank");
  std::vector<double> payload(static_cast<std::size_t>(layouts_.Ranks()), 0);
  Held first = Exchange(task, task.input, task.output, &payload);
  bool routed = IsRouted(ValueOf(task.input).tokens) || IsRouted(ValueOf(task.output).tokens) ||
                ValueOf(task.input).ffn == FfnKind::kExpert;
  Define(task.output, std::move(first));
  if (task.input2 != kNoValue || task.output2 != kNoValue) {
    Held second = Exchange(task, task.input2, task.output2, &payload);
    Define(task.output2, std::move(second));
  }
  const double most = *std::max_element(payload.begin(), payload.end());
  if (!routed && std::abs(most - task.payload_bytes) > 1e-9 * std::max(1.0, most)) {
    Fail("payload_bytes is " + std::to_string(task.payload_bytes) + ", the fullest buffer has " + std::to_string(most));
  }
}

}  // namespace shardscout::interpret

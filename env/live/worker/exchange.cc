#include "env/live/worker/exchange.h"

#include <algorithm>

#include "shardscout/error.h"

namespace shardscout::live {
namespace {

using strategies::Layouts;
using strategies::Tag;
using strategies::Tags;

std::int64_t Size(const Tags& tags) { return static_cast<std::int64_t>(tags.size()); }

/// The part of `whole` that `wanted` names too.
Window PartOf(const Tags& whole_rows, const Tags& whole_columns, const Tags& rows, const Tags& columns,
              at::Device device) {
  const auto in_rows = SharedTags(whole_rows, rows).first, in_columns = SharedTags(whole_columns, columns).first;
  Window part;
  part.rows = IndexList::Of(in_rows, Size(whole_rows), device);
  part.columns = IndexList::Of(in_columns, Size(whole_columns), device);
  part.elements = part.rows.size * part.columns.size;
  return part;
}

Window Whole(std::int64_t rows, std::int64_t columns) {
  Window whole;
  whole.rows = {.all = true, .run = true, .first = 0, .size = rows, .index = {}};
  whole.columns = {.all = true, .run = true, .first = 0, .size = columns, .index = {}};
  whole.elements = rows * columns;
  return whole;
}

at::Tensor Flat(const at::Tensor& x, const Window& part) {
  return Take(Take(x, 0, part.rows), 1, part.columns).reshape({-1});
}

void Put(at::Tensor& to, const Window& part, const at::Tensor& flat, bool add) {
  if (part.elements == 0) return;
  const at::Tensor data = flat.view({part.rows.size, part.columns.size});
  if (part.columns.run) {
    at::Tensor columns = to.narrow(1, part.columns.first, part.columns.size);
    if (part.rows.run) {
      at::Tensor place = columns.narrow(0, part.rows.first, part.rows.size);
      add ? place.add_(data) : place.copy_(data);
    } else {
      add ? columns.index_add_(0, part.rows.index, data) : columns.index_copy_(0, part.rows.index, data);
    }
    return;
  }
  const at::Tensor rows = part.rows.run ? at::arange(part.rows.first, part.rows.first + part.rows.size,
                                                     at::TensorOptions().dtype(at::kLong).device(to.device()))
                                        : part.rows.index;
  to.index_put_({rows.unsqueeze(1), part.columns.index}, data, add);
}

std::vector<std::int64_t> Elements(const std::vector<const ExchangePlan*>& plans,
                                   std::vector<Window> ExchangePlan::*side) {
  std::vector<std::int64_t> sizes((plans.front()->*side).size(), 0);
  for (const ExchangePlan* plan : plans) {
    for (std::size_t m = 0; m < sizes.size(); ++m) sizes[m] += (plan->*side)[m].elements;
  }
  return sizes;
}

/// One buffer: member after member, of each the values' parts one after the other.
at::Tensor Pack(const std::vector<const ExchangePlan*>& plans, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> parts;
  for (std::size_t m = 0; m < plans.front()->send.size(); ++m) {
    for (std::size_t i = 0; i < plans.size(); ++i) parts.push_back(Flat(inputs[i], plans[i]->send[m]));
  }
  return parts.size() == 1 ? parts.front().contiguous() : at::cat(parts);
}

std::vector<at::Tensor> Unpack(const std::vector<const ExchangePlan*>& plans, const at::Tensor& flat) {
  std::vector<at::Tensor> outputs;
  for (const ExchangePlan* plan : plans) outputs.push_back(at::zeros({plan->rows, plan->columns}, flat.options()));
  std::int64_t offset = 0;
  for (std::size_t m = 0; m < plans.front()->receive.size(); ++m) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
      const Window& part = plans[i]->receive[m];
      Put(outputs[i], part, flat.narrow(0, offset, part.elements), plans[i]->adds);
      offset += part.elements;
    }
  }
  return outputs;
}

}  // namespace

IndexList IndexList::Of(const std::vector<std::int64_t>& indices, std::int64_t dim_size, at::Device device) {
  IndexList list;
  list.size = static_cast<std::int64_t>(indices.size());
  list.first = indices.empty() ? 0 : indices.front();
  list.run = true;
  for (std::size_t i = 1; i < indices.size(); ++i) list.run = list.run && indices[i] == indices[i - 1] + 1;
  list.all = list.run && list.size == dim_size;
  if (!list.run) list.index = at::tensor(indices, at::TensorOptions().dtype(at::kLong)).to(device);
  return list;
}

at::Tensor Take(const at::Tensor& x, std::int64_t dim, const IndexList& indices) {
  if (indices.all) return x;
  return indices.run ? x.narrow(dim, indices.first, indices.size) : x.index_select(dim, indices.index);
}

std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> SharedTags(const Tags& a, const Tags& b) {
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> shared;
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (a[i] < b[j]) {
      ++i;
    } else if (b[j] < a[i]) {
      ++j;
    } else {
      shared.first.push_back(static_cast<std::int64_t>(i++));
      shared.second.push_back(static_cast<std::int64_t>(j++));
    }
  }
  return shared;
}

ExchangePlan PlanExchange(const Task& task, const Value& in, const Value& out, bool adds, Layouts& layouts,
                          const std::vector<std::int64_t>& stage_members, std::int64_t stage_rank, at::Device device) {
  const Tags& in_rows = *layouts.LocalTokens(in, stage_rank);
  const Tags& in_columns = *layouts.LocalColumns(in, stage_rank);
  const Tags& out_rows = *layouts.LocalTokens(out, stage_rank);
  const Tags& out_columns = *layouts.LocalColumns(out, stage_rank);
  ExchangePlan plan;
  plan.rows = Size(out_rows);
  plan.columns = Size(out_columns);
  plan.adds = adds;
  plan.bytes_per_element = BytesPerElement(in.dtype);
  const bool stacks = in.kind == TensorKind::kLse && out.copies == in.copies * task.group.size &&
                      task.collective == Collective::kAllGather;
  std::int64_t stacked = 0;
  for (const std::int64_t member : stage_members) {
    const Tags& their_in_rows = *layouts.LocalTokens(in, member);
    const Tags& their_in_columns = *layouts.LocalColumns(in, member);
    const Tags& their_out_rows = *layouts.LocalTokens(out, member);
    const Tags& their_out_columns = *layouts.LocalColumns(out, member);
    switch (task.collective) {
      case Collective::kAllGather:
        if (stacks) {
          Window part = Whole(Size(their_in_rows), Size(their_in_columns));
          part.columns.all = false;
          part.columns.first = stacked;
          stacked += part.columns.size;
          plan.receive.push_back(std::move(part));
        } else {
          plan.receive.push_back(PartOf(out_rows, out_columns, their_in_rows, their_in_columns, device));
          SHARDSCOUT_CHECK_OP(plan.receive.back().elements, ==, Size(their_in_rows) * Size(their_in_columns));
        }
        break;
      case Collective::kReduceScatter:
        plan.send.push_back(PartOf(in_rows, in_columns, their_out_rows, their_out_columns, device));
        SHARDSCOUT_CHECK_OP(plan.send.back().elements, ==, Size(their_out_rows) * Size(their_out_columns));
        break;
      case Collective::kAllToAll:
        plan.send.push_back(PartOf(in_rows, in_columns, their_out_rows, their_out_columns, device));
        plan.receive.push_back(PartOf(out_rows, out_columns, their_in_rows, their_in_columns, device));
        break;
      case Collective::kAllReduce:
        SHARDSCOUT_CHECK_OP(Size(their_in_rows), ==, plan.rows);
        break;
      default:
        SHARDSCOUT_CHECK(false && "a collective that has no place inside a stage");
    }
  }
  if (task.collective == Collective::kAllGather) plan.send = {Whole(Size(in_rows), Size(in_columns))};
  if (task.collective == Collective::kReduceScatter) plan.receive = {Whole(plan.rows, plan.columns)};
  return plan;
}

std::vector<at::Tensor> RunExchange(Communicator& group, Collective collective,
                                    const std::vector<const ExchangePlan*>& plans,
                                    const std::vector<at::Tensor>& inputs, double* payload_bytes) {
  std::vector<at::Tensor> outputs;
  if (collective == Collective::kAllReduce) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
      outputs.push_back(inputs[i].clone(at::MemoryFormat::Contiguous));
      AllReduce(group, outputs.back());
      *payload_bytes += static_cast<double>(inputs[i].numel()) * plans[i]->bytes_per_element;
    }
    return outputs;
  }
  // Values of different types cannot share a buffer.
  if (plans.size() == 2 && inputs[0].scalar_type() != inputs[1].scalar_type()) {
    for (std::size_t i = 0; i < 2; ++i) {
      outputs.push_back(RunExchange(group, collective, {plans[i]}, {inputs[i]}, payload_bytes).front());
    }
    return outputs;
  }
  const at::Tensor packed = Pack(plans, inputs);
  const bool gathers = collective == Collective::kAllGather;
  for (const ExchangePlan* plan : plans) {
    for (const Window& part : gathers ? plan->receive : plan->send) {
      *payload_bytes += static_cast<double>(part.elements) * plan->bytes_per_element;
    }
  }
  if (gathers) return Unpack(plans, AllGather(group, packed, Elements(plans, &ExchangePlan::receive)));
  const std::vector<std::int64_t> sent = Elements(plans, &ExchangePlan::send);
  if (collective == Collective::kReduceScatter) return Unpack(plans, ReduceScatter(group, packed, sent));
  return Unpack(plans, AllToAll(group, packed, sent, Elements(plans, &ExchangePlan::receive)));
}

}  // namespace shardscout::live

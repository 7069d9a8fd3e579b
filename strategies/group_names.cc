#include "strategies/group_names.h"

#include <vector>

namespace shardscout {
namespace {

struct Named {
  const char* name;
  Group group;
};

bool OnExpertMesh(Operator op) {
  return op == Operator::kDispatch || op == Operator::kCombine || op == Operator::kExpertUp ||
         op == Operator::kExpertDown;
}

}  // namespace

std::string GroupName(const Strategy& s, Operator op, const Group& group) {
  const std::int64_t tp = s.tensor_parallel_size, cp = s.context_parallel_size, dp = s.data_parallel_size;
  const std::int64_t etp = s.expert_tensor_parallel_size, ep = s.expert_parallel_size;
  const std::vector<Named> attention = {
      {"tp", {tp, 1}}, {"cp", {cp, tp}}, {"dp", {dp, tp * cp}}, {"cp*dp", {cp * dp, tp}}, {"stage", {tp * cp * dp, 1}}};
  const std::vector<Named> expert = {
      {"ep", {ep, etp}}, {"etp", {etp, 1}}, {"block", {ep * etp, 1}}, {"block/tp", {ep * etp / tp, tp}}};
  const bool experts_first = OnExpertMesh(op);
  for (const std::vector<Named>* axes : {experts_first ? &expert : &attention, experts_first ? &attention : &expert}) {
    for (const Named& axis : *axes) {
      if (axis.group == group) return std::string(axis.name) + " (" + std::to_string(group.size) + " ranks)";
    }
  }
  return std::to_string(group.size) + " ranks, stride " + std::to_string(group.stride);
}

}  // namespace shardscout

#include <charconv>
#include <string>
#include <string_view>

#include "shardscout/error.h"
#include "shardscout/live_run.h"

namespace shardscout {
namespace {

constexpr int kFirstPort = 20000, kPorts = 20000;  // Below what systems give out by themselves.

using Get = std::function<const char*(const char*)>;

std::string TextOf(const Get& get, const char* name) {
  const char* text = get(name);
  return text == nullptr ? "" : text;
}

int NumberOf(const Get& get, const char* name, int least, int most) {
  const std::string text = TextOf(get, name);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw SpecError(name, "found \"" + text + "\" in the environment, allowed is a number from " +
                              std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

/// The same on all ranks of a job, another for another job.
int PortOf(std::string_view job) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return kFirstPort + static_cast<int>(hash % kPorts);
}

}  // namespace

std::optional<LaunchedRank> FindLaunchedRank(const Get& get) {
  struct Launcher {
    const char *name, *rank, *size, *local, *job, *address;
  };
  constexpr Launcher kLaunchers[] = {
      {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", ""},
      {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "PMIX_NAMESPACE", ""},
      {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_LAUNCH_NODE_IPADDR"}};
  for (const Launcher& launcher : kLaunchers) {
    if (get(launcher.rank) == nullptr || get(launcher.size) == nullptr) continue;
    LaunchedRank found;
    found.launcher = launcher.name;
    found.world_size = NumberOf(get, launcher.size, 1, 1 << 20);
    found.rank = NumberOf(get, launcher.rank, 0, found.world_size - 1);
    const bool has_local = !TextOf(get, launcher.local).empty();
    found.local_rank = has_local ? NumberOf(get, launcher.local, 0, found.world_size - 1) : found.rank;
    std::string address = TextOf(get, "MASTER_ADDR");
    if (address.empty() && launcher.address[0] != '\0') address = TextOf(get, launcher.address);
    if (!address.empty()) found.master_address = address;
    const bool has_port = !TextOf(get, "MASTER_PORT").empty();
    if (!has_port && found.launcher == "torchrun") {
      throw SpecError("MASTER_PORT",
                      "is not in the environment, though RANK and WORLD_SIZE are; set it to a free port "
                      "of rank 0's host, the same on all ranks");
    }
    found.master_port = has_port ? NumberOf(get, "MASTER_PORT", 1, 65535) : PortOf(TextOf(get, launcher.job));
    return found;
  }
  return std::nullopt;
}

}  // namespace shardscout

// A strategy proved and timed on two processes, from a program that is not beside the workers.

#include <iostream>

#include "shardscout/live_run.h"

int main() {
  using namespace shardscout;
  const Problem problem(LoadModel("tiny-dense"), LoadCluster("localhost-cpu", 2), LoadWorkload("prefill-tiny"));
  LiveOptions options;
  options.num_processes = 2;
  options.worker = SHARDSCOUT_LIVE_WORKER;
  LiveSession session(options);
  const LiveReport report = session.Run(problem, {DefaultLiveStrategy(problem, 2)}).front();
  std::cout << ToShortString(report.strategy) << ": " << report.phases.front().measured.median_s << " s\n";
  return report.Right() ? 0 : 1;
}

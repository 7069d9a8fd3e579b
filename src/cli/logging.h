#pragma once

// The log: stderr, and the file of --log-file. Results never go here.

#include <string>

#include "src/cli/commands.h"

namespace shardscout::cli {

/// Until the command line is parsed: everything from info on to stderr, in colours on a terminal unless NO_COLOR is set
/// to anything (no-color.org).
void SetUpLogging();

/// --quiet, --log-level and --log-file, which --quiet leaves alone; the file's first line is `command_line`. SpecError
/// where the file cannot be written.
void ApplyLogOptions(const Context& context, const std::string& command_line);

/// What the user has to see whatever the level: on stderr as it is, which ends with a line's end, and in the file.
void PrintError(const std::string& text);

}  // namespace shardscout::cli

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shardscout {

/// Where presets are looked for: $SHARDSCOUT_CONFIGS if set, else share/shardscout/configs of the tree that the running
/// program is installed in, else configs/ of the sources that it was built from, else shardscout/configs in one of
/// $XDG_DATA_DIRS (/usr/local/share and /usr/share): there a program that only uses the installed library finds them.
/// The first of these that is there. `kind` is "models", "clusters", "workloads", "engines" or "searches".
std::string PresetDirectory(std::string_view kind);

/// Sorted names of the presets of a kind, without ".json".
std::vector<std::string> ListPresets(std::string_view kind);

/// An existing file as it is, or the preset of that name; a SpecError names the nearest preset. `flag` names the option
/// in errors.
std::string ResolvePreset(std::string_view kind, const std::string& name_or_path, std::string_view flag);

/// The whole file. A SpecError if it can't be read or is larger than 16 MiB.
std::string ReadTextFile(const std::string& path);

}  // namespace shardscout

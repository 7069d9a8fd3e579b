# `cpack -G DEB` in a build folder: one Debian package a component of install.cmake. What a package needs of others is
# read off its programs by dpkg-shlibdeps; scripts/check_deb.sh installs them where nothing else is.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME shardscout)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_PACKAGE_VENDOR "Shardscout contributors")
set(CPACK_PACKAGE_CONTACT "Shardscout contributors <shardscout@localhost>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)

set(CPACK_COMPONENTS_ALL program devel)
if(SHARDSCOUT_HAVE_AGENTS)
  list(APPEND CPACK_COMPONENTS_ALL agents agents-devel)
endif()
if(SHARDSCOUT_HAVE_LIVE)
  list(APPEND CPACK_COMPONENTS_ALL live)
endif()
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

# package(COMPONENT NAME SECTION DESCRIPTION [DEPENDS])
macro(package component name section description)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${description}")
  set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "${ARGN}")
endmacro()
set(same "(= ${PROJECT_VERSION})")
package(program shardscout science "finds how to split a large language model over a cluster
 The command line with its presets of models, clusters and workloads. The
 learning agents and runs on real processes are packages of their own.")
package(agents shardscout-agents science "learning agents of Shardscout
 The searchers ppo, ppo-from-scratch and ppo-paper." "shardscout ${same}")
package(live shardscout-live science "runs of Shardscout on real processes
 The workers that run a strategy for real, each collective a real one." "shardscout ${same}")
package(devel libshardscout-dev libdevel "library of Shardscout in C++20
 Headers, the core as a static library, find_package(shardscout) and
 pkg-config. Needs no LibTorch." "shardscout ${same}, libyaml-cpp-dev, libprotobuf-dev")
package(agents-devel libshardscout-agents-dev libdevel "learning agents of Shardscout as a library
 The static library shardscout::agents." "libshardscout-dev ${same}, libtorch-dev, libspdlog-dev")
# The reference BLAS that libtorch is content with takes twelve times as long.
set(CPACK_DEBIAN_AGENTS_PACKAGE_RECOMMENDS libopenblas0-openmp)
set(CPACK_DEBIAN_LIVE_PACKAGE_RECOMMENDS libopenblas0-openmp)

include(CPack)

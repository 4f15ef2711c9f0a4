# vcpkg's port of libphlora, as an overlay port: vcpkg install phlora --overlay-ports=ffi/packaging/vcpkg
# Builds the repository that holds this file with cargo and bash, both from the PATH.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_program(CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" REQUIRED)
find_program(BASH bash REQUIRED)

if(VCPKG_TARGET_IS_LINUX AND VCPKG_TARGET_ARCHITECTURE STREQUAL "x64")
  set(target x86_64-unknown-linux-gnu)
elseif(VCPKG_TARGET_IS_LINUX)
  set(target aarch64-unknown-linux-gnu)
elseif(VCPKG_TARGET_IS_IOS)
  set(target aarch64-apple-ios)
elseif(VCPKG_TARGET_IS_OSX AND VCPKG_TARGET_ARCHITECTURE STREQUAL "x64")
  set(target x86_64-apple-darwin)
elseif(VCPKG_TARGET_IS_OSX)
  set(target aarch64-apple-darwin)
elseif(VCPKG_TARGET_IS_ANDROID)
  set(target aarch64-linux-android)
else()
  set(target x86_64-pc-windows-gnu)
endif()

vcpkg_execute_required_process(
  COMMAND "${CMAKE_COMMAND}" -E env "CARGO=${CARGO}" "CARGO_TARGET_DIR=${CURRENT_BUILDTREES_DIR}/target"
    "${BASH}" "${SOURCE_PATH}/ffi/install.sh" "${CURRENT_PACKAGES_DIR}" --target "${target}"
  WORKING_DIRECTORY "${SOURCE_PATH}"
  LOGNAME "install-${TARGET_TRIPLET}")

# One kind of library for each triplet, and nothing to build twice: the library is always optimised.
if(VCPKG_LIBRARY_LINKAGE STREQUAL "static")
  file(GLOB other "${CURRENT_PACKAGES_DIR}/lib/*.so*" "${CURRENT_PACKAGES_DIR}/lib/*.dylib" "${CURRENT_PACKAGES_DIR}/lib/*.dll.a")
  file(REMOVE_RECURSE ${other} "${CURRENT_PACKAGES_DIR}/bin")
else()
  file(REMOVE "${CURRENT_PACKAGES_DIR}/lib/libphlora.a")
endif()
# vcpkg keeps packages two folders below the prefix, not three.
file(GLOB configs "${CURRENT_PACKAGES_DIR}/lib/cmake/phlora/*.cmake")
file(COPY ${configs} DESTINATION "${CURRENT_PACKAGES_DIR}/share/phlora")
vcpkg_replace_string("${CURRENT_PACKAGES_DIR}/share/phlora/phlora-config.cmake"
  "CMAKE_CURRENT_LIST_DIR}/../../.." "CMAKE_CURRENT_LIST_DIR}/../..")
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib/cmake" "${CURRENT_PACKAGES_DIR}/share/licenses" "${CURRENT_PACKAGES_DIR}/share/doc")
set(VCPKG_POLICY_MISMATCHED_NUMBER_OF_BINARIES enabled)
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE-MIT" "${SOURCE_PATH}/LICENSE-APACHE")

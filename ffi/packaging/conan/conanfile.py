"""Conan recipe of libphlora. From the root of the repository: conan create ffi/packaging/conan

It builds with cargo, which has to be in the PATH; PHLORA_PREBUILT, the PREFIX of an installed phlora, takes that in its place.
"""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.files import copy, load

TARGETS = {
    ("Linux", "x86_64"): "x86_64-unknown-linux-gnu",
    ("Linux", "armv8"): "aarch64-unknown-linux-gnu",
    ("Macos", "x86_64"): "x86_64-apple-darwin",
    ("Macos", "armv8"): "aarch64-apple-darwin",
    ("iOS", "armv8"): "aarch64-apple-ios",
    ("Android", "armv8"): "aarch64-linux-android",
    ("Windows", "x86_64"): "x86_64-pc-windows-gnu",
}


class Phlora(ConanFile):
    name = "phlora"
    license = "MIT OR Apache-2.0"
    description = "LoRA adapters from the difference of two weights, and many adapters in one batch"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": False}

    @property
    def _root(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        self.version = re.search(r'^version = "(.+)"', load(self, os.path.join(self._root, "Cargo.toml")), re.M)[1]

    def export_sources(self):
        for pattern in ("Cargo.*", "LICENSE-*", "rust-toolchain.toml", "*/Cargo.toml", "*/src/*", "*/build.rs", "include/*"):
            copy(self, pattern, self._root, self.export_sources_folder, excludes=("target/*", "*/target/*"))
        for folder in ("ffi", "examples/rust", "benches", "tests/src", "integrations", "docs"):
            copy(self, "*", os.path.join(self._root, folder), os.path.join(self.export_sources_folder, folder))

    @property
    def _target(self):
        target = TARGETS.get((str(self.settings.os), str(self.settings.arch)))
        if str(self.settings.os) == "Windows" and str(self.settings.compiler) == "msvc":
            target = "x86_64-pc-windows-msvc"
        return target

    def validate(self):
        if self._target is None:
            raise ConanInvalidConfiguration(f"no target of Rust is known for {self.settings.os} on {self.settings.arch}")

    def package_id(self):
        # The library is always optimised, and C alone is its interface.
        del self.info.settings.build_type
        del self.info.settings.compiler

    def build(self):
        if "PHLORA_PREBUILT" in os.environ:
            return
        script = os.path.join(self.source_folder, "ffi", "install.sh")
        native = self.settings.os == self.settings_build.os and self.settings.arch == self.settings_build.arch
        target = "" if native else f" --target {self._target}"
        self.run(f'bash "{script}" "{os.path.join(self.build_folder, "installed")}"{target}')

    def package(self):
        built = os.environ.get("PHLORA_PREBUILT", os.path.join(self.build_folder, "installed"))
        copy(self, "*", os.path.join(built, "include"), os.path.join(self.package_folder, "include"))
        copy(self, "*", os.path.join(built, "share", "licenses", "phlora"), os.path.join(self.package_folder, "licenses"))
        for folder in ("lib", "bin"):
            for pattern in ("*.so*", "*.dylib", "*.dll", "*.dll.a", "*.lib") if self.options.shared else ("*.a", "*_static.lib"):
                copy(self, pattern, os.path.join(built, folder), os.path.join(self.package_folder, folder), excludes="cmake")

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "phlora")
        self.cpp_info.set_property("cmake_target_name", "phlora::phlora" if self.options.shared else "phlora::static")
        self.cpp_info.set_property("pkg_config_name", "phlora")
        static_of_msvc = not self.options.shared and str(self.settings.compiler) == "msvc"
        self.cpp_info.libs = ["phlora_static" if static_of_msvc else "phlora"]
        if not self.options.shared:
            system = str(self.settings.os)
            self.cpp_info.system_libs = {
                "Linux": ["pthread", "dl", "m"],
                "Android": ["dl", "m"],
                "Windows": ["ws2_32", "userenv", "ntdll"],
            }.get(system, ["m"])

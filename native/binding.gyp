{
  "targets": [
    {
      "target_name": "jailrun",
      "sources": ["addon.cc", "sha256.c"],
      # By path and not as a gyp dependency, which would write makefiles beside this file's directory.
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "cflags_c": ["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17"],
      "cflags_cc": ["-std=gnu++20", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
      # Debian's libbpf.a is not position-independent, so an addon can only link the shared one.
      "libraries": ["-lbpf"]
    }
  ]
}

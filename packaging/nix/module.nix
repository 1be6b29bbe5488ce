# SPDX-License-Identifier: MIT
#
# services.mpsched: /etc/mpsched/mpsched.toml from settings, and mpschedd as its unit has it.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.mpsched;
  format = pkgs.formats.toml { };
  unchecked = format.generate "mpsched-unchecked.toml" ({ version = 1; } // cfg.settings);
  # A mistake is found when the system is built, not when it boots.
  file = pkgs.runCommand "mpsched.toml" { } ''
    cp ${unchecked} mpsched.toml
    chmod 644 mpsched.toml
    ${lib.getExe cfg.package} config check "$PWD/mpsched.toml"
    cp mpsched.toml $out
  '';
in
{
  options.services.mpsched = {
    enable = lib.mkEnableOption "Multipath TCP scheduling as settings say";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package to use.";
    };

    settings = lib.mkOption {
      type = format.type;
      default = { };
      example = {
        default.policy = "overflow";
        interface = [
          { name = "eth0"; }
          {
            name = "wwan*";
            priority = 1;
            cost = 20;
          }
        ];
      };
      description = "The contents of mpsched.toml(5). An array of tables there is a list of sets here.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."mpsched/mpsched.toml".source = file;
    boot.kernel.sysctl."net.mptcp.enabled" = lib.mkDefault 1;

    systemd.packages = [ cfg.package ];
    systemd.services.mpschedd = {
      # What a unit of a package says of [Install] is not read.
      wantedBy = [ "multi-user.target" ];
      reloadTriggers = [ file ];
    };
  };
}

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/cluster"
	"github.com/edgeio/edgeio/control/config"
	"github.com/edgeio/edgeio/control/root"
)

func rootCommand() *cli.Command {
	const env = "EDGEROOT_"
	return &cli.Command{
		Name: "root", Usage: "run a root orchestrator, in the foreground",
		Description: "At its first start it makes the authority of the whole installation, and a file\n" +
			"edgectl.yaml in its data directory with which edgectl is an admin:\n" +
			"  EDGECTL_CONFIG=/var/lib/edgeio/root/edgectl.yaml edgectl cluster ls",
		Flags: append(commonFlags(env, config.DefaultRootFile),
			&cli.StringFlag{Name: "api-addr", Usage: "`ADDRESS` to listen on for users, HTTPS", DefaultText: ":" + config.APIPort, EnvVars: []string{env + "API_ADDR"}},
			&cli.StringFlag{Name: "link-addr", Usage: "`ADDRESS` to listen on for clusters and nodes, QUIC over UDP", DefaultText: ":" + config.RootPort, EnvVars: []string{env + "LINK_ADDR"}},
			&cli.StringSliceFlag{Name: "advertise", Usage: "host `NAME` or address under which this machine is reached; may be repeated", EnvVars: []string{env + "ADVERTISE"}},
		),
		Action: func(c *cli.Context) error {
			cfg := config.DefaultRoot()
			if err := config.Load(&cfg, c.String("config"), config.DefaultRootFile); err != nil {
				return &usageError{err}
			}
			override(c, map[string]*string{
				"name": &cfg.Name, "data-dir": &cfg.DataDir, "api-addr": &cfg.APIAddr, "link-addr": &cfg.LinkAddr,
				"log-level": &cfg.Log.Level, "log-format": &cfg.Log.Format,
			})
			if c.IsSet("advertise") {
				cfg.Advertise = c.StringSlice("advertise")
			}
			if c.IsSet("usage-interval") {
				cfg.UsageInterval = c.Duration("usage-interval")
			}
			if err := cfg.Validate(); err != nil {
				return &usageError{err}
			}
			return root.Run(c.Context, root.Config{
				DataDir: cfg.DataDir, Name: cfg.Name, APIAddr: cfg.APIAddr, LinkAddr: cfg.LinkAddr,
				Advertise: cfg.Advertise, UsageInterval: cfg.UsageInterval, Version: version,
				Ready: func(e root.Endpoints) {
					fmt.Fprintf(c.App.Writer, "ready: API https://%s, clusters and nodes join at %s/udp; admin: EDGECTL_CONFIG=%s\n", e.API, e.Link, e.Client)
				},
			}, cfg.Log.Logger())
		},
	}
}

func clusterCommand() *cli.Command {
	const env = "EDGECLUSTER_"
	return &cli.Command{
		Name: "cluster", Usage: "run a cluster orchestrator, in the foreground",
		Description: "The first time it needs --join and --token, made by\n\"edgectl token create --join cluster\". It dials out to the root and keeps the\nconnection; nothing needs to reach it but its own nodes.",
		Flags: append(commonFlags(env, config.DefaultClusterFile),
			&cli.StringFlag{Name: "location", Usage: "`NAME` of the place, which jobs can ask for", EnvVars: []string{env + "LOCATION"}},
			&cli.StringFlag{Name: "link-addr", Usage: "`ADDRESS` to listen on for nodes, QUIC over UDP", DefaultText: ":" + config.ClusterPort, EnvVars: []string{env + "LINK_ADDR"}},
			&cli.StringSliceFlag{Name: "join", Aliases: []string{"parent"}, Usage: "`ADDRESS` of the root, host:port; may be repeated", EnvVars: []string{env + "JOIN"}},
			&cli.StringFlag{Name: "token", Usage: "join `TOKEN`", EnvVars: []string{env + "TOKEN"}},
		),
		Action: func(c *cli.Context) error {
			cfg := config.DefaultCluster()
			if err := config.Load(&cfg, c.String("config"), config.DefaultClusterFile); err != nil {
				return &usageError{err}
			}
			override(c, map[string]*string{
				"name": &cfg.Name, "location": &cfg.Location, "data-dir": &cfg.DataDir, "link-addr": &cfg.LinkAddr,
				"token": &cfg.Token, "log-level": &cfg.Log.Level, "log-format": &cfg.Log.Format,
			})
			if c.IsSet("join") {
				cfg.Parents = c.StringSlice("join")
			}
			if c.IsSet("usage-interval") {
				cfg.UsageInterval = c.Duration("usage-interval")
			}
			if err := cfg.Validate(); err != nil {
				return &usageError{err}
			}
			return cluster.Run(c.Context, cluster.Config{
				DataDir: cfg.DataDir, Name: cfg.Name, Location: cfg.Location, Labels: cfg.Labels, Parents: cfg.Parents,
				Token: cfg.Token, LinkAddr: cfg.LinkAddr, UsageInterval: cfg.UsageInterval, Version: version,
				Ready: func(link net.Addr) {
					fmt.Fprintf(c.App.Writer, "ready: nodes join at %s/udp\n", link)
				},
			}, cfg.Log.Logger())
		},
	}
}

func commonFlags(env, file string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`", Value: file, EnvVars: []string{env + "CONFIG"}},
		&cli.StringFlag{Name: "name", Usage: "`NAME`, for people", EnvVars: []string{env + "NAME"}},
		&cli.StringFlag{Name: "data-dir", Usage: "`DIR` for everything that must not be lost", EnvVars: []string{env + "DATA_DIR"}},
		&cli.DurationFlag{Name: "usage-interval", Usage: "time between usage reports of nodes", DefaultText: "15s", EnvVars: []string{env + "USAGE_INTERVAL"}},
		&cli.StringFlag{Name: "log-level", Usage: "`LEVEL`: debug, info, warn or error", DefaultText: "info", EnvVars: []string{env + "LOG_LEVEL"}},
		&cli.StringFlag{Name: "log-format", Usage: "`FORMAT`: text or json", DefaultText: "text", EnvVars: []string{env + "LOG_FORMAT"}},
	}
}

// override sets what was given by flag or environment.
func override(c *cli.Context, fields map[string]*string) {
	for flag, field := range fields {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script for a shell", ArgsUsage: "bash|zsh|fish",
		Description: "For bash: source <(edgecontrol completion bash)",
		Action: func(c *cli.Context) error {
			switch shell := c.Args().First(); shell {
			case "bash":
				_, err := fmt.Fprint(c.App.Writer, bashCompletion)
				return err
			case "zsh":
				_, err := fmt.Fprint(c.App.Writer, zshCompletion)
				return err
			case "fish":
				script, err := c.App.ToFishCompletion()
				if err == nil {
					_, err = fmt.Fprint(c.App.Writer, script)
				}
				return err
			default:
				return usage("completion %q: want bash, zsh or fish", shell)
			}
		},
	}
}

const bashCompletion = `_edgecontrol() {
  local cur="${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[@]:0:$COMP_CWORD}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _edgecontrol edgecontrol
`

const zshCompletion = `#compdef edgecontrol
_edgecontrol() {
  local -a opts
  opts=("${(@f)$(${words[@]:0:#words[@]-1} --generate-bash-completion 2>/dev/null)}")
  _describe 'values' opts
}
compdef _edgecontrol edgecontrol
`

// executableBeside returns the path of a program of edgeIO that lies where
// this one does.
func executableBeside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s must lie beside edgecontrol: %w", name, err)
	}
	return path, nil
}

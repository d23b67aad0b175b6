package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/agent/node"
)

// The agent shares small boards with what it runs: it trades a little CPU at
// work for memory at rest.
const gcPercent = 40

func joinFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "token", Usage: "join `TOKEN`, from \"edgectl token create\"", EnvVars: []string{"EDGEAGENT_TOKEN"}},
	}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run the agent, in the foreground",
		Description: "The agent connects to its cluster and runs what it is assigned. When it is\nstopped, with SIGTERM or otherwise, its workloads go on, and it finds them again.",
		Flags: append(append(settings(), joinFlags()...),
			&cli.StringFlag{Name: "join", Usage: "`ADDRESS` to join at first, with --token, if the node has not joined yet", EnvVars: []string{"EDGEAGENT_JOIN"}}),
		Action: run,
	}
}

func run(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	debug.SetGCPercent(gcPercent)
	log := cfg.Log.Logger(os.Stderr)
	if addr := c.String("join"); addr != "" {
		if c.String("token") == "" {
			return usage("--join needs --token")
		}
		peer, err := node.Join(c.Context, cfg, addr, c.String("token"), false, log)
		switch {
		case errors.Is(err, node.ErrJoined):
		case err != nil:
			return err
		default:
			log.Info("joined", "parent", addr, "node", peer.ID, "name", peer.Name)
		}
	}
	parts, images, err := assemble(c.Context, cfg, log)
	if err != nil {
		return err
	}
	n, err := node.New(cfg, parts)
	if err != nil {
		return errors.Join(err, closeDrivers(parts.Drivers), images.Close())
	}
	ctx, cancel := context.WithCancel(c.Context)
	settled := make(chan struct{})
	go func() { defer close(settled); settle(ctx) }()
	err = n.Run(ctx)
	cancel()
	<-settled
	return errors.Join(err, closeDrivers(parts.Drivers), images.Close())
}

func joinCommand() *cli.Command {
	return &cli.Command{
		Name: "join", Usage: "join this node to a cluster", ArgsUsage: "ADDRESS",
		Description: "ADDRESS is host:port of the cluster, or of the root. The node makes a key that\nnever leaves it and gets a certificate for it. The token also says whom to trust.",
		Flags: append(append(settings(), joinFlags()...),
			&cli.BoolFlag{Name: "force", Usage: "join anew although the node has joined already"}),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage("want one address: edgeagent join HOST:PORT --token TOKEN")
			}
			if c.String("token") == "" {
				return usage("a token is needed: edgeagent join %s --token TOKEN; \"edgectl token create\" makes one", c.Args().First())
			}
			cfg, err := load(c)
			if err != nil {
				return err
			}
			peer, err := node.Join(c.Context, cfg, c.Args().First(), c.String("token"), c.Bool("force"), cfg.Log.Logger(os.Stderr))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "Joined at %s as node %s (%s).\nNow start the agent: edgeagent run, or: systemctl enable --now edgeagent\n",
				c.Args().First(), peer.Name, peer.ID)
			return err
		},
	}
}

func leaveCommand() *cli.Command {
	return &cli.Command{
		Name: "leave", Usage: "take this node out of its cluster",
		Description: "The cluster forgets the node and places its jobs elsewhere. A running agent ends.",
		Flags:       settings(),
		Action: func(c *cli.Context) error {
			cfg, err := load(c)
			if err != nil {
				return err
			}
			if err := node.Leave(c.Context, cfg, cfg.Log.Logger(os.Stderr)); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.App.Writer, "Left the cluster. To join again: edgeagent join ADDRESS --token TOKEN")
			return err
		},
	}
}

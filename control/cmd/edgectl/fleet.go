package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

func (p *program) nodeCommand() *cli.Command {
	return &cli.Command{
		Name: "node", Aliases: []string{"nodes"}, Usage: "look at worker nodes", Action: group,
		Subcommands: []*cli.Command{
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list nodes",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "cluster", Usage: "only the nodes of `CLUSTER`: its id or name"},
					outputFlag(),
				},
				Action: p.with(p.nodeLs),
			},
			{
				Name: "show", Usage: "show a node with its labels, runtimes and free devices", ArgsUsage: "NODE",
				Description: `With -o json, all that the node reports of its hardware is there as well.`,
				Flags:       []cli.Flag{outputFlag()}, Action: p.with(p.nodeShow),
			},
		},
	}
}

func (p *program) nodeLs(c *cli.Context, cl *api.Client) error {
	if err := none(c); err != nil {
		return err
	}
	nodes, err := cl.Nodes(c.Context, c.String("cluster"))
	if err != nil {
		return err
	}
	return p.show(c, nodes, func(w io.Writer) {
		t := newTable(w, "NAME", "ID", "CLUSTER", "READY", "ARCH", "RUNTIMES", "CPU FREE", "MEMORY FREE", "RUNNING", "SEEN")
		for _, n := range nodes {
			t.row(n.Name, n.ID, n.Cluster.String(), yesNo(n.Ready), n.Arch, strings.Join(usable(n), ","),
				cpuFree(n.Free, n.Capacity), memoryFree(n.Free, n.Capacity), fmt.Sprint(n.Instances), p.ago(n.LastSeen))
		}
		t.flush()
	})
}

func usable(n api.Node) []string {
	var l []string
	for _, r := range n.Runtimes {
		if r.Usable {
			l = append(l, r.Name)
		}
	}
	return l
}

func cpuFree(free, capacity api.Resources) string {
	return cores(free.CPUMillis) + " of " + cores(capacity.CPUMillis)
}

func memoryFree(free, capacity api.Resources) string {
	return amount(free.MemoryBytes) + " of " + amount(capacity.MemoryBytes)
}

func (p *program) nodeShow(c *cli.Context, cl *api.Client) error {
	ref, err := one(c, "node")
	if err != nil {
		return err
	}
	n, err := cl.Node(c.Context, ref)
	if err != nil {
		return err
	}
	return p.show(c, n, func(w io.Writer) {
		t := newTable(w)
		t.row("name", n.Name)
		t.row("id", n.ID)
		t.row("cluster", n.Cluster.String())
		t.row("ready", yesNo(n.Ready)+", seen "+p.ago(n.LastSeen))
		t.row("version", n.Version)
		t.row("arch", n.Arch)
		t.row("address", n.Address)
		for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
			t.row("label "+k, n.Labels[k])
		}
		for _, taint := range n.Taints {
			t.row("taint", job.Taint{Key: taint.Key, Value: taint.Value, Effect: job.Effect(taint.Effect)}.String())
		}
		t.row("running", fmt.Sprint(n.Instances))
		t.row("cpu free", cpuFree(n.Free, n.Capacity))
		t.row("memory free", memoryFree(n.Free, n.Capacity))
		t.row("disk free", amount(n.Free.DiskBytes)+" of "+amount(n.Capacity.DiskBytes))
		if u := n.Usage; u != nil {
			age := span(time.Duration(u.AgeSeconds * float64(time.Second)))
			t.row("in use", fmt.Sprintf("%s cores, %s memory, %s disk (%s ago)", cores(u.CPUMillis), amount(u.MemoryBytes), amount(u.DiskBytes), age))
		}
		t.flush()
		fmt.Fprintln(w)
		runtimes(w, n)
		if len(n.Devices) > 0 {
			fmt.Fprintln(w)
			devices(w, n)
		}
	})
}

func devices(w io.Writer, n api.Node) {
	t := newTable(w, "FREE DEVICES", "COUNT", "VENDOR", "MODEL", "MEMORY", "SHARED", "ID AND PATHS")
	for _, d := range n.Devices {
		memory := ""
		if d.MemoryBytes > 0 {
			memory = amount(d.MemoryBytes)
		}
		t.row(d.Kind, fmt.Sprint(d.Count), d.Vendor, d.Model, memory, yesNo(d.Shared), strings.Join(d.Names, " "))
	}
	t.flush()
}

func runtimes(w io.Writer, n api.Node) {
	t := newTable(w, "RUNTIME", "USABLE", "VERSION", "FEATURES", "WHAT IS WRONG")
	for _, r := range n.Runtimes {
		wrong := r.Reason
		if wrong != "" && r.Remedy != "" {
			wrong += "; " + r.Remedy
		}
		t.row(r.Name, yesNo(r.Usable), r.Version, strings.Join(r.Features, ","), wrong)
	}
	t.flush()
}

func (p *program) clusterCommand() *cli.Command {
	return &cli.Command{
		Name: "cluster", Aliases: []string{"clusters"}, Usage: "look at clusters", Action: group,
		Subcommands: []*cli.Command{
			{Name: "ls", Aliases: []string{"list"}, Usage: "list clusters", Flags: []cli.Flag{outputFlag()}, Action: p.with(p.clusterLs)},
			{Name: "show", Usage: "show a cluster", ArgsUsage: "CLUSTER", Flags: []cli.Flag{outputFlag()}, Action: p.with(p.clusterShow)},
		},
	}
}

func (p *program) clusterLs(c *cli.Context, cl *api.Client) error {
	if err := none(c); err != nil {
		return err
	}
	clusters, err := cl.Clusters(c.Context)
	if err != nil {
		return err
	}
	return p.show(c, clusters, func(w io.Writer) {
		t := newTable(w, "NAME", "ID", "LOCATION", "READY", "NODES", "CPU FREE", "MEMORY FREE", "RUNNING", "SEEN")
		for _, k := range clusters {
			t.row(k.Name, k.ID, k.Location, yesNo(k.Ready), fmt.Sprint(k.Nodes), cpuFree(k.Free, k.Capacity),
				memoryFree(k.Free, k.Capacity), fmt.Sprint(k.Instances), p.ago(k.LastSeen))
		}
		t.flush()
	})
}

func (p *program) clusterShow(c *cli.Context, cl *api.Client) error {
	ref, err := one(c, "cluster")
	if err != nil {
		return err
	}
	k, err := cl.Cluster(c.Context, ref)
	if err != nil {
		return err
	}
	return p.show(c, k, func(w io.Writer) {
		t := newTable(w)
		t.row("name", k.Name)
		t.row("id", k.ID)
		t.row("location", k.Location)
		t.row("ready", yesNo(k.Ready)+", seen "+p.ago(k.LastSeen))
		t.row("version", k.Version)
		t.row("address", k.Address)
		t.row("nodes", fmt.Sprint(k.Nodes))
		t.row("running", fmt.Sprint(k.Instances))
		t.row("cpu free", cpuFree(k.Free, k.Capacity))
		t.row("memory free", memoryFree(k.Free, k.Capacity))
		t.row("disk free", amount(k.Free.DiskBytes)+" of "+amount(k.Capacity.DiskBytes))
		t.flush()
	})
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/capabilities"
)

func capabilitiesCommand() *cli.Command {
	return &cli.Command{
		Name: "capabilities", Usage: "show what this machine is and has",
		Flags: append(settings(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "table, json or yaml", Value: "table"},
			&cli.StringFlag{Name: "host-root", Usage: "`DIR` where the root of the machine to look at is", Value: "/"}),
		Action: func(c *cli.Context) error {
			cfg, err := load(c)
			if err != nil {
				return err
			}
			host := capabilities.Host{Root: c.String("host-root")}
			if info, err := os.Stat(host.Root); err != nil || !info.IsDir() {
				return usage("--host-root %q: there is no such folder", host.Root)
			}
			if _, err := os.Stat(cfg.StateDir); err == nil && !c.IsSet("host-root") {
				host.StateDir = cfg.StateDir
			}
			o := c.String("output")
			if o != "table" && o != "json" && o != "yaml" {
				return usage("--output %q: want table, json or yaml", o)
			}
			r := capabilities.Discover(c.Context, host)
			if o == "yaml" {
				return showYAML(c.App.Writer, r)
			}
			return show(c, r, func(w io.Writer) { capabilityTable(w, r) })
		},
	}
}

// showYAML prints v under the names that it has in JSON.
func showYAML(w io.Writer, v any) error {
	text, err := yaml.MarshalWithOptions(v, yaml.UseJSONMarshaler())
	if err != nil {
		return fmt.Errorf("encode as YAML: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// capabilityTable prints groups, each with columns of its own width.
func capabilityTable(w io.Writer, r capabilities.Report) {
	group := func(title string, rows ...[]string) {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for i, row := range rows {
			if i == 0 {
				_, _ = fmt.Fprintln(t, title)
			}
			if strings.Join(row[1:], "") != "" {
				_, _ = fmt.Fprintf(t, "  %s\n", strings.TrimRight(strings.Join(row, "\t"), "\t"))
			}
		}
		_ = t.Flush() // into the same writer, which keeps its error
	}
	group("Machine", machineRows(r)...)
	group("Processor and memory", processorRows(r)...)
	group("Disks", diskRows(r)...)
	group("Network", networkRows(r)...)
	group("Devices", deviceRows(r.Devices)...)
	var warnings [][]string
	for _, warning := range r.Warnings {
		probe, text, _ := strings.Cut(warning, ": ")
		warnings = append(warnings, []string{probe, text})
	}
	group("Warnings", warnings...)
}

func machineRows(r capabilities.Report) [][]string {
	jetpack := ""
	if r.Board.L4T != "" {
		jetpack = strings.TrimSpace("L4T " + r.Board.L4T + " " + prefixed("JetPack ", r.Board.JetPack))
	}
	kvm := prefixed("KVM works: ", string(r.KVM.Works))
	if r.KVM.Reason != "" {
		kvm = strings.TrimSpace(kvm+" ("+r.KVM.Reason) + ")"
	}
	virtual := map[string]string{"": "unknown", "none": "none, bare metal"}[r.Virtualisation]
	if virtual == "" {
		virtual = "virtual machine: " + r.Virtualisation
	}
	clock := map[capabilities.Answer]string{capabilities.Yes: "synchronised", capabilities.No: "not synchronised"}[r.Clock.Synchronised]
	return [][]string{
		{"Host", r.Hostname}, {"Machine", r.Machine}, {"Board", r.Board.ID}, {"Chip", r.Board.SoC}, {"NVIDIA", jetpack},
		{"System", r.OS.Name}, {"Kernel", r.Kernel}, {"Init", r.Init}, {"Virtualisation", virtual}, {"Container", r.Container}, {"Virtual machines", kvm},
		{"Cgroups", fmt.Sprintf("version %d: %s", r.Cgroup.Version, strings.Join(r.Cgroup.Controllers, " "))},
		{"Security", strings.Join(r.Security.Modules, " ")}, {"Clock", clock},
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func processorRows(r capabilities.Report) [][]string {
	arch := r.Arch
	if r.CPU.Variant != "" {
		arch += "/" + r.CPU.Variant
	}
	cores := fmt.Sprint(r.CPU.Cores)
	if r.CPU.Physical > 0 {
		cores += fmt.Sprintf(" on %d physical", r.CPU.Physical)
	}
	if r.CPU.NUMANodes > 1 {
		cores += fmt.Sprintf(", %d NUMA nodes", r.CPU.NUMANodes)
	}
	if r.CPU.MaxMHz > 0 {
		cores += fmt.Sprintf(", up to %d MHz", r.CPU.MaxMHz)
	}
	memory := size(r.Memory.TotalBytes)
	if r.Memory.SwapBytes > 0 {
		memory += ", swap " + size(r.Memory.SwapBytes)
	}
	for _, h := range r.Memory.HugePages {
		memory += fmt.Sprintf(", %d huge pages of %d KiB", h.Total, h.SizeBytes>>10)
	}
	return [][]string{
		{"Architecture", arch}, {"Processor", r.CPU.Model}, {"Cores", cores}, {"Features", strings.Join(r.CPU.Features, " ")}, {"Memory", memory},
	}
}

func diskRows(r capabilities.Report) [][]string {
	rows := [][]string{{r.Disk.Path, fmt.Sprintf("%s free of %s", size(r.Disk.FreeBytes), size(r.Disk.TotalBytes))}}
	for _, d := range r.Disks {
		traits := d.Bus
		if d.Rotational {
			traits += " rotational"
		}
		if d.Removable {
			traits += " removable"
		}
		rows = append(rows, []string{d.Name, size(d.Bytes), d.Model, strings.TrimSpace(traits)})
	}
	return rows
}

func networkRows(r capabilities.Report) [][]string {
	var rows [][]string
	for _, i := range r.Interfaces {
		state := "down"
		if i.Up {
			state = "up"
		}
		if i.SpeedMbps > 0 {
			state += fmt.Sprintf(" %d Mbit/s", i.SpeedMbps)
		}
		route := ""
		if i.DefaultRoute {
			route = strings.TrimSpace("default route " + prefixed("by ", i.Gateway))
		}
		rows = append(rows, []string{i.Name, i.Kind, state, strings.Join(i.Addresses, " "), route})
	}
	return rows
}

func deviceRows(devices []capabilities.Device) [][]string {
	var rows [][]string
	for _, d := range devices {
		name := strings.TrimSpace(d.Vendor + " " + strings.TrimPrefix(d.Model, d.Vendor+" "))
		if d.MemoryBytes > 0 {
			name += ", " + size(d.MemoryBytes)
		}
		rows = append(rows, []string{string(d.Kind), orDash(name), d.ID, strings.Join(d.Paths, " ")})
	}
	return rows
}

// size prints bytes in powers of ten, as all of edgeIO does.
func size(n int64) string {
	if n < 10_000_000_000 {
		return fmt.Sprintf("%d MB", n/1_000_000)
	}
	return fmt.Sprintf("%d GB", n/1_000_000_000)
}

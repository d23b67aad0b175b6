package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

func imageCommand() *cli.Command {
	return &cli.Command{
		Name: "image", Usage: "look at images of unikernels",
		Subcommands: []*cli.Command{{
			Name: "inspect", Usage: "show what a Solo5 image is made for and which devices it wants", ArgsUsage: "FILE",
			Flags: []cli.Flag{outputFlag()},
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return usage("name one file: edgeagent image inspect FILE")
				}
				img, err := inspectImage(c.Args().First())
				if err != nil {
					return err
				}
				return show(c, img, func(w io.Writer) { imageTable(w, img) })
			},
		}},
	}
}

// imageView is what people and scripts see of an image.
type imageView struct {
	Target      solo5.Target   `json:"target"`
	ABIVersion  uint32         `json:"abi_version"`
	Arch        string         `json:"arch"`
	Devices     []solo5.Device `json:"devices"`
	MemoryBytes uint64         `json:"memory_bytes"` // up to the image's end, without stack and heap
}

func inspectImage(path string) (imageView, error) {
	f, err := os.Open(path)
	if err != nil {
		return imageView{}, fmt.Errorf("inspect image: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return imageView{}, fmt.Errorf("inspect image: %w", err)
	}
	img, err := solo5.Inspect(f, info.Size())
	if err != nil {
		return imageView{}, fmt.Errorf("inspect image %s: %w", path, err)
	}
	return imageView{Target: img.Target, ABIVersion: img.ABIVersion, Arch: img.Arch, Devices: img.Devices, MemoryBytes: img.EndBytes}, nil
}

func imageTable(w io.Writer, img imageView) {
	for _, row := range [][2]string{
		{"Target", img.Target.String()}, {"ABI version", fmt.Sprint(img.ABIVersion)}, {"Architecture", img.Arch},
		{"Memory", fmt.Sprintf("%d KiB and its stack and heap", img.MemoryBytes>>10)},
	} {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	for _, d := range img.Devices {
		_, _ = fmt.Fprintf(w, "Device\t%s (%s)\n", d.Name, d.Type)
	}
}

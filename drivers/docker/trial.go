package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

var _ drivers.Trier = (*Driver)(nil)

// trialImage is made for a trial and removed after it, so that none has to be
// fetched.
const trialImage = "edgeio-trial/exit:1"

// Trial implements drivers.Trier with an image of one file: a program that does
// nothing but exit.
func (d *Driver) Trial(ctx context.Context) (drivers.Spec, func(context.Context) error, error) {
	const op = "trial"
	none := func(context.Context) error { return nil }
	arch, err := d.daemonArch(ctx)
	if err != nil {
		return drivers.Spec{}, none, d.fail(ctx, op, "", err)
	}
	program, err := exitProgram(arch)
	if err != nil {
		return drivers.Spec{}, none, drivers.Errorf(drivers.ErrUnsupported, op, "", "%w", err)
	}
	api := d.api.Load()
	done, err := api.ImageImport(ctx, client.ImageImportSource{Source: archive("exit", program), SourceName: "-"}, trialImage, client.ImageImportOptions{})
	if err != nil {
		return drivers.Spec{}, none, d.fail(ctx, op, "", err)
	}
	_, err = io.Copy(io.Discard, done)
	_ = done.Close()
	cleanup := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, d.cfg.ChangeTimeout)
		defer cancel()
		if _, err := api.ImageRemove(ctx, trialImage, client.ImageRemoveOptions{}); err != nil {
			return d.fail(ctx, op, "", err)
		}
		return nil
	}
	if err != nil {
		return drivers.Spec{}, cleanup, d.fail(ctx, op, "", err)
	}
	return drivers.Spec{Image: drivers.Image{Reference: trialImage}, Command: []string{"/exit"}}, cleanup, nil
}

func archive(name string, content []byte) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// Writing to memory does not fail.
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))})
	_, _ = w.Write(content)
	_ = w.Close()
	return &b
}

// exitProgram is a static ELF executable (System V ABI) whose only code is the
// system call exit(0), by the numbers in the kernel's tables of system calls.
func exitProgram(arch string) ([]byte, error) {
	const base = 0x10000
	switch arch {
	case "amd64": // mov eax, 60; xor edi, edi; syscall
		return elf64(62, base, []byte{0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}), nil
	case "arm64": // mov x8, #93; mov x0, #0; svc #0
		return elf64(183, base, words(0xd2800ba8, 0xd2800000, 0xd4000001)), nil
	case "arm": // mov r7, #1; mov r0, #0; svc #0
		return elf32(40, base, words(0xe3a07001, 0xe3a00000, 0xef000000)), nil
	}
	return nil, fmt.Errorf("there is no trial for %s machines", arch)
}

func words(code ...uint32) []byte {
	var b []byte
	for _, w := range code {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

const (
	elfExec     = 2
	elfLoad     = 1
	elfReadExec = 4 | 1
)

func elf64(machine uint16, base uint64, code []byte) []byte {
	const header, segment = 64, 56
	size := uint64(header + segment + len(code))
	return structure([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		uint16(elfExec), machine, uint32(1), base+header+segment, uint64(header), uint64(0), uint32(0),
		uint16(header), uint16(segment), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(elfLoad), uint32(elfReadExec), uint64(0), base, base, size, size, uint64(0x1000), code)
}

func elf32(machine uint16, base uint32, code []byte) []byte {
	const header, segment, abi5 = 52, 32, 0x05000000
	size := uint32(header + segment + len(code))
	return structure([]byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		uint16(elfExec), machine, uint32(1), base+header+segment, uint32(header), uint32(0), uint32(abi5),
		uint16(header), uint16(segment), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(elfLoad), uint32(0), base, base, size, size, uint32(elfReadExec), uint32(0x1000), code)
}

// structure puts fields one after the other, little-endian.
func structure(fields ...any) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		_ = binary.Write(&b, binary.LittleEndian, f) // fixed sizes, into memory
	}
	return b.Bytes()
}

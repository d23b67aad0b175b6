package artifact

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/edgeio/edgeio/drivers"
)

// Limits bound what an archive may become, against those that are small to
// send and huge to unpack.
type Limits struct {
	Entries int   // files, folders and links
	Bytes   int64 // of all files together
	Ratio   int64 // unpacked to packed size; holds beyond ratioFloor bytes
}

const (
	ratioFloor    = 64 << 20 // small archives may well be of zeroes
	maxNameBytes  = 4096     // PATH_MAX
	maxNameDepth  = 100
	progressBytes = 4 << 20
)

// orDefault fills in bounds that are generous for programs and root file systems.
func (l Limits) orDefault() Limits {
	return Limits{
		Entries: cmp.Or(l.Entries, 200_000),
		Bytes:   cmp.Or(l.Bytes, 8<<30),
		Ratio:   cmp.Or(l.Ratio, 200),
	}
}

// unpack unpacks the archive into the new folder dir. Nothing is written
// outside of it, and no link in it leads outside.
func unpack(ctx context.Context, archive string, kind kind, dir string, limits Limits, report func(drivers.Progress)) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // of a file that was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := &unpacker{ctx: ctx, root: root, limits: limits, packed: info.Size(), report: report}
	if err := u.archive(f, kind); err != nil {
		var known *classError
		if errors.As(err, &known) || ctx.Err() != nil || isDiskTrouble(err) {
			return err
		}
		return classed(drivers.ErrImage, "the archive cannot be unpacked: %w", err)
	}
	return u.checkLinks()
}

// isDiskTrouble tells trouble of the node from names that an archive should not have.
func isDiskTrouble(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// unpacker writes entries below root and counts what they cost.
type unpacker struct {
	ctx    context.Context // of the one call to unpack
	root   *os.Root
	limits Limits
	packed int64
	report func(drivers.Progress)

	entries  int
	bytes    int64
	reported int64
	links    []string
}

func (u *unpacker) archive(f *os.File, kind kind) error {
	switch kind {
	case zipped:
		zr, err := zip.NewReader(f, u.packed)
		if err != nil {
			return err
		}
		return u.zip(zr)
	case tarGzip:
		zr, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		return u.tar(tar.NewReader(zr))
	case tarZstd:
		zr, err := newZstd(f)
		if err != nil {
			return err
		}
		defer zr.Close()
		return u.tar(tar.NewReader(zr))
	}
	return u.tar(tar.NewReader(f))
}

func (u *unpacker) tar(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.tarEntry(h, tr); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
}

func (u *unpacker) tarEntry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // remarks of git archive
		return nil
	}
	name, err := u.admit(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(name, fs.FileMode(h.Mode), content)
	case tar.TypeSymlink:
		return u.symlink(name, h.Linkname)
	case tar.TypeLink:
		return u.hardlink(name, h.Linkname)
	}
	return fmt.Errorf("it is a device, a pipe or something else that is not unpacked (type %q)", h.Typeflag)
}

func (u *unpacker) zip(zr *zip.Reader) error {
	for _, f := range zr.File {
		if err := u.zipEntry(f); err != nil {
			return fmt.Errorf("%.200q: %w", f.Name, err)
		}
	}
	return nil
}

func (u *unpacker) zipEntry(f *zip.File) (err error) {
	name, err := u.admit(f.Name)
	if err != nil {
		return err
	}
	mode := f.Mode()
	if mode.IsDir() {
		return u.dir(name)
	}
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	switch mode.Type() {
	case 0:
		return u.file(name, mode, content)
	case fs.ModeSymlink:
		target, err := io.ReadAll(io.LimitReader(content, maxNameBytes+1))
		if err != nil {
			return err
		}
		return u.symlink(name, string(target))
	}
	return fmt.Errorf("it is a device, a pipe or something else that is not unpacked (%s)", mode.Type())
}

// admit counts an entry and returns its name relative to the root, "." for the root itself.
func (u *unpacker) admit(name string) (string, error) {
	if err := u.count(); err != nil {
		return "", err
	}
	return checkName(name)
}

func (u *unpacker) count() error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	if u.entries++; u.entries > u.limits.Entries {
		return classed(drivers.ErrImage, "the archive has more than %d entries", u.limits.Entries)
	}
	return nil
}

// checkName refuses names that do not stay below the root, rather than bending them.
func checkName(name string) (string, error) {
	switch {
	case name == "", strings.ContainsAny(name, "\x00\\"):
		return "", errors.New("it has no proper name")
	case len(name) > maxNameBytes, strings.Count(name, "/") > maxNameDepth:
		return "", errors.New("its name is too long or too deep")
	case path.IsAbs(name):
		return "", errors.New("its name is absolute")
	}
	clean := path.Clean(name)
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New(`its name contains ".."`)
		}
	}
	return clean, nil
}

func (u *unpacker) dir(name string) error {
	if err := u.parents(name); err != nil || u.isDir(name) {
		return err
	}
	return u.root.Mkdir(name, 0o755)
}

// parents makes the folders that name is in. Those that the archive does not
// list count as if it did: one name alone may stand for a hundred.
func (u *unpacker) parents(name string) error {
	dir := path.Dir(name)
	if u.isDir(dir) {
		return nil
	}
	if err := u.parents(dir); err != nil {
		return err
	}
	if err := u.count(); err != nil {
		return err
	}
	return u.root.Mkdir(dir, 0o755)
}

func (u *unpacker) isDir(name string) bool {
	info, err := u.root.Stat(name)
	return err == nil && info.IsDir()
}

// vacate makes room for an entry: a later one of the same name replaces an
// earlier one, as tar does it, but a folder stays.
func (u *unpacker) vacate(name string) error {
	if name == "." {
		return errors.New("it would replace the archive's root")
	}
	if err := u.parents(name); err != nil {
		return err
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *unpacker) file(name string, mode fs.FileMode, content io.Reader) (err error) {
	if err := u.vacate(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, &counted{u, content}); err != nil {
		return err
	}
	// No setuid, nothing that others may write, and readable for the workload's user.
	perm := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	return f.Chmod(perm)
}

// counted ends with an error when the archive becomes too much.
type counted struct {
	u *unpacker
	r io.Reader
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	u := c.u
	u.bytes += int64(n)
	switch {
	case u.ctx.Err() != nil:
		return n, u.ctx.Err()
	case u.bytes > u.limits.Bytes:
		return n, classed(drivers.ErrImage, "the archive unpacks to more than %d bytes", u.limits.Bytes)
	case u.bytes > ratioFloor && u.bytes/u.limits.Ratio > u.packed:
		return n, classed(drivers.ErrImage, "the archive unpacks to more than %d times its size, as bombs do", u.limits.Ratio)
	}
	if u.bytes-u.reported >= progressBytes {
		u.reported = u.bytes
		u.report(drivers.Progress{Phase: "unpacking", Current: u.bytes})
	}
	return n, err
}

func (u *unpacker) symlink(name, target string) error {
	if target == "" || len(target) > maxNameBytes || strings.ContainsRune(target, 0) {
		return errors.New("the link has no proper target")
	}
	if path.IsAbs(target) {
		return fmt.Errorf("the link leads to the absolute path %.200q", target)
	}
	if joined := path.Join(path.Dir(name), target); joined == ".." || strings.HasPrefix(joined, "../") {
		return fmt.Errorf("the link leads out of the archive, to %.200q", target)
	}
	if err := u.vacate(name); err != nil {
		return err
	}
	u.links = append(u.links, name)
	return u.root.Symlink(target, name)
}

func (u *unpacker) hardlink(name, target string) error {
	target, err := checkName(target)
	if err != nil {
		return fmt.Errorf("the link's target: %w", err)
	}
	info, err := u.root.Lstat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("the link's target is not a file")
	}
	if name == target {
		return nil
	}
	if err := u.vacate(name); err != nil {
		return err
	}
	return u.root.Link(target, name)
}

// checkLinks follows every symbolic link once all are there: several that are
// harmless by themselves may lead outside together. One to nothing is left.
func (u *unpacker) checkLinks() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return classed(drivers.ErrImage, "the archive cannot be unpacked: %.200q: the link leads out of the archive or in a circle: %w", name, err)
		}
	}
	return nil
}

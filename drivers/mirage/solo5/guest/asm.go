package guest

import "encoding/binary"

var order = binary.LittleEndian

// asm puts x86 machine code together. Only such instructions are offered whose
// bytes mean the same in 64-bit and 32-bit mode; wide says where a 64-bit
// operand is taken, which is for 64-bit mode alone.
type asm struct {
	code   []byte
	base   uint32 // address of code[0]
	labels []int  // offset in code, -1 while unknown
	fixes  []fix
}

// fix is a place where a label's address is put once it is known.
type fix struct {
	at       int // offset of 4 bytes in code
	to       label
	relative bool // to the end of those bytes
}

type label int

// reg is a general register; the names are those of 32 bits.
type reg byte

const (
	eax reg = iota
	ecx
	edx
	ebx
	esp
	ebp
	esi
	edi
)

// cond is the condition of a jump.
type cond byte

const (
	below   cond = 0x2
	equal   cond = 0x4
	unequal cond = 0x5
	above   cond = 0x7
)

const (
	narrow = false
	wide   = true
)

func (a *asm) emit(b ...byte)  { a.code = append(a.code, b...) }
func (a *asm) word(v uint32)   { a.code = order.AppendUint32(a.code, v) }
func (a *asm) text(s string)   { a.code = append(a.code, s...) }
func (a *asm) place(l label)   { a.labels[l] = len(a.code) }
func (a *asm) newLabel() label { a.labels = append(a.labels, -1); return label(len(a.labels) - 1) }

// mark is newLabel and place in one.
func (a *asm) mark() label {
	l := a.newLabel()
	a.place(l)
	return l
}

func (a *asm) refer(l label, relative bool) {
	a.fixes = append(a.fixes, fix{len(a.code), l, relative})
	a.word(0)
}

// finish resolves all labels.
func (a *asm) finish() []byte {
	for _, f := range a.fixes {
		target := uint32(a.labels[f.to])
		if f.relative {
			target -= uint32(f.at) + 4
		} else {
			target += a.base
		}
		order.PutUint32(a.code[f.at:], target)
	}
	return a.code
}

func (a *asm) rex(w bool) {
	if w {
		a.emit(0x48)
	}
}

// memory emits the operand [base+disp] with r as the other one.
func (a *asm) memory(r, base reg, disp int32) {
	a.emit(0x80 | byte(r)<<3 | byte(base))
	a.word(uint32(disp))
}

// registers emits the operand rm with r as the other one.
func (a *asm) registers(r, rm reg) { a.emit(0xc0 | byte(r)<<3 | byte(rm)) }

// set is r = v; the upper half becomes zero.
func (a *asm) set(r reg, v uint32) { a.emit(0xb8 + byte(r)); a.word(v) }

// setLabel is r = address of l.
func (a *asm) setLabel(r reg, l label) { a.emit(0xb8 + byte(r)); a.refer(l, false) }

// setWide is r = v, 64 bits of it.
func (a *asm) setWide(r reg, v uint64) {
	a.emit(0x48, 0xb8+byte(r))
	a.code = order.AppendUint64(a.code, v)
}

func (a *asm) copy(dst, src reg, w bool) { a.rex(w); a.emit(0x89); a.registers(src, dst) }

// load is r = [base+disp].
func (a *asm) load(r, base reg, disp int32, w bool) { a.rex(w); a.emit(0x8b); a.memory(r, base, disp) }

// loadByte and loadShort extend with zeroes.
func (a *asm) loadByte(r, base reg, disp int32)  { a.emit(0x0f, 0xb6); a.memory(r, base, disp) }
func (a *asm) loadShort(r, base reg, disp int32) { a.emit(0x0f, 0xb7); a.memory(r, base, disp) }

// store is [base+disp] = r.
func (a *asm) store(base reg, disp int32, r reg, w bool) {
	a.rex(w)
	a.emit(0x89)
	a.memory(r, base, disp)
}

// storeByte and storeShort take the lower bits of r: eax, ecx, edx or ebx.
func (a *asm) storeByte(base reg, disp int32, r reg)  { a.emit(0x88); a.memory(r, base, disp) }
func (a *asm) storeShort(base reg, disp int32, r reg) { a.emit(0x66, 0x89); a.memory(r, base, disp) }

func (a *asm) add(dst, src reg, w bool)         { a.rex(w); a.emit(0x01); a.registers(src, dst) }
func (a *asm) compare(x, y reg, w bool)         { a.rex(w); a.emit(0x39); a.registers(y, x) }
func (a *asm) compareWith(r reg, v uint32)      { a.emit(0x81, 0xf8|byte(r)); a.word(v) }
func (a *asm) addConst(r reg, v uint32, w bool) { a.rex(w); a.emit(0x81, 0xc0|byte(r)); a.word(v) }
func (a *asm) multiply(r reg, v uint32)         { a.emit(0x69, 0xc0|byte(r)<<3|byte(r)); a.word(v) }
func (a *asm) jump(l label)                     { a.emit(0xe9); a.refer(l, true) }
func (a *asm) jumpIf(c cond, l label)           { a.emit(0x0f, 0x80|byte(c)); a.refer(l, true) }
func (a *asm) call(l label)                     { a.emit(0xe8); a.refer(l, true) }
func (a *asm) ret()                             { a.emit(0xc3) }
func (a *asm) outLong()                         { a.emit(0xef) } // port edx, value eax
func (a *asm) outByte()                         { a.emit(0xee) } // port edx, value al
func (a *asm) inByte()                          { a.emit(0xec) } // al = port edx
func (a *asm) testByte(bits byte)               { a.emit(0xa8, bits) }
func (a *asm) pause()                           { a.emit(0xf3, 0x90) }
func (a *asm) undefined()                       { a.emit(0x0f, 0x0b) }
func (a *asm) stopForever()                     { a.emit(0xfa, 0xf4) } // no interrupts, then wait for one

// fill stores ecx times al at edi; move copies ecx bytes from esi to edi.
func (a *asm) fill() { a.emit(0xf3, 0xaa) }
func (a *asm) move() { a.emit(0xf3, 0xa4) }

// writeByte sends value to a port.
func (a *asm) writeByte(port uint32, value uint8) {
	a.set(edx, port)
	a.set(eax, uint32(value))
	a.outByte()
}

// loadText embeds s, jumped over, and sets r to its address.
func (a *asm) loadText(r reg, s string) {
	over := a.newLabel()
	a.jump(over)
	l := a.mark()
	a.text(s)
	a.place(over)
	a.setLabel(r, l)
}

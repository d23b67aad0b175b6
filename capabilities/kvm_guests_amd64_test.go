package capabilities

var (
	endlessCode = []byte{0xeb, 0xfe}       // jmp to itself
	silentCode  = []byte{0xb0, 0x01, 0xf4} // mov al, 1; hlt
)

"""Kernels are found in a program's text, and what they read and write."""

import pytest

from benchmarks.kernels import Kernel, kernels

PROGRAM = """
HloModule jit_f, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%sums (p.1: f32[8,100], p.2: f32[8]) -> (f32[8], f32[8]) {
  %p.1 = f32[8,100]{1,0} parameter(0)
  %p.2 = f32[8]{0} parameter(1)
  %zero = f32[] constant(0)
  %wide = f32[8,100]{1,0} broadcast(%p.2), dimensions={0}
  %less = f32[8,100]{1,0} subtract(%p.1, %wide)
  %one = f32[8]{0} reduce(%less, %zero), dimensions={1}, to_apply=%add
  %other = f32[8]{0} reduce(%p.1, %zero), dimensions={1}, to_apply=%add
  ROOT %both = (f32[8]{0}, f32[8]{0}) tuple(%one, %other)
}

%mixed (x: bf16[8,100], partner: s32[8]) -> bf16[8,100] {
  %x = bf16[8,100]{1,0} parameter(0)
  %partner = s32[8]{0} parameter(1)
  %rows = bf16[8,100]{1,0} gather(%x, %partner), offset_dims={1}, slice_sizes={1,100}
  ROOT %mix = bf16[8,100]{1,0} add(%x, %rows)
}

%first (z: bf16[8,100]) -> f32[8,1] {
  %z = bf16[8,100]{1,0} parameter(0)
  %flat = bf16[8,1,100]{2,1,0} bitcast(%z)
  %float = f32[8,1,100]{2,1,0} convert(%flat)
  %cut = f32[8,1,1]{2,1,0} slice(%float), slice={[0:8], [0:1], [0:1]}
  ROOT %flat.1 = f32[8,1]{1,0} bitcast(%cut)
}

%updated (into: f32[8,100], at: s32[8]) -> f32[8,100] {
  %into = f32[8,100]{1,0} parameter(0)
  %at = s32[8]{0} parameter(1)
  %ones = f32[8]{0} constant({1, 1, 1, 1, 1, 1, 1, 1})
  ROOT %scattered = f32[8,100]{1,0} scatter(%into, %at, %ones), update_window_dims={}, to_apply=%add
}

%widened (narrow: bf16[8,100]) -> f32[8,100] {
  %narrow = bf16[8,100]{1,0} parameter(0)
  ROOT %converted = f32[8,100]{1,0} convert(%narrow)
}

ENTRY %main (x.1: f32[8,100], x.2: bf16[8,100], y: s32[8], m: f32[8]) -> (f32[8], bf16[8,100], f32[8,1]) {
  %x.1 = f32[8,100]{1,0} parameter(0), metadata={op_name="x(1)"}
  %x.2 = bf16[8,100]{1,0} parameter(1)
  %y = s32[8]{0} parameter(2)
  %m = f32[8]{0} parameter(3)
  %fusion = (f32[8]{0}, f32[8]{0}) fusion(%x.1, %m), kind=kInput, calls=%sums, metadata={op_name="f(x, y)/add"}
  %get = f32[8]{0} get-tuple-element(%fusion), index=0
  %fusion.1 = bf16[8,100]{1,0} fusion(%x.2, %y), kind=kLoop, calls=%mixed
  %fusion.2 = f32[8,1]{1,0} fusion(%x.2), kind=kLoop, calls=%first
  %fusion.3 = f32[8,100]{1,0} fusion(%x.1, %y), kind=kInput, calls=%updated
  %fusion.4 = f32[8,100]{1,0} fusion(%x.2), kind=kLoop, calls=%widened
  %copy = f32[8]{0} copy(%get)
  ROOT %all = (f32[8]{0}, bf16[8,100]{1,0}, f32[8,1]{1,0}) tuple(%copy, %fusion.1, %fusion.2)
}
"""


def test_what_each_kernel_moves():
    assert list(kernels(PROGRAM)) == [
        Kernel("fusion", read=3200 + 32, written=64),  # two sums of one reading
        Kernel("fusion.1", read=2 * 1600 + 32, written=1600),  # a row and its partner's
        Kernel("fusion.2", read=32, written=32),  # a column, of which 32 bytes are counted in float32
        Kernel("fusion.3", read=32 + 32, written=32),  # added to where it lies
        Kernel("fusion.4", read=1600, written=3200),
        Kernel("copy", read=32, written=32),
    ]


def test_a_loop_is_not_one_kernel():
    looping = PROGRAM.replace("copy(%get)", "while(%get), condition=%c, body=%b")
    with pytest.raises(ValueError, match=r"loops.*while 'copy'"):
        list(kernels(looping))

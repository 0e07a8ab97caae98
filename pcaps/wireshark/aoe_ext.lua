-- What Wireshark's own AoE dissector leaves out: AoEde's extension table (command 0x23), the tail of a
-- coalesced read, the list of write results in one reply, the MAC mask list (command 2) and the reserve
-- list (command 3).
--
-- A post-dissector: Wireshark's own fields (aoe.*) stay as they are, these stand beside them (aoe_ext.*).
--   tshark -X lua_script:aoe_ext.lua -r FILE -Y aoe_ext
-- or put the file into Wireshark's folder of personal Lua plugins (Help > About > Folders).

local AOE_TYPE = 0x88A2
local VLAN_TYPES = { [0x8100] = true, [0x88A8] = true, [0x9100] = true }
local FLAG_RESPONSE, FLAG_ERROR = 8, 4
local ATA, CONFIG, MASK, RESERVE, EXTENSIONS = 0, 1, 2, 3, 0x23
local READ, READ_EXT = 0x20, 0x24
local CONFIG_SET, CONFIG_FORCE_SET = 3, 4
local AFLAG_WRITE = 1 -- in a reply: a list of further results may follow
-- Offsets from the first byte of an untagged frame.
local ARGUMENT, DATA, MASK_LIST, RESERVE_LIST, TABLE = 24, 36, 28, 26, 26
local DIRECTIVE_BYTES, MAC_BYTES, ENTRY_BYTES = 8, 6, 16

local ext = Proto("aoe_ext", "ATA over Ethernet, what else is in it")

local MASK_COMMANDS = { [0] = "read", [1] = "edit" }
local MASK_ERRORS = { [0] = "none", [1] = "unspecified", [2] = "bad directive", [3] = "list full" }
local DIRECTIVES = { [0] = "nothing", [1] = "add", [2] = "delete" }
local RESERVE_COMMANDS = { [0] = "read", [1] = "set", [2] = "force set" }

local f = {
  length = ProtoField.uint16("aoe_ext.length", "Length of the table"),
  order = ProtoField.string("aoe_ext.order", "Byte order of the length"),
  feature = ProtoField.string("aoe_ext.feature", "Feature"),
  argument = ProtoField.string("aoe_ext.argument", "Argument"),
  active = ProtoField.string("aoe_ext.active", "Active"),
  further = ProtoField.uint8("aoe_ext.coalesced.count", "Further reads"),
  tag = ProtoField.uint32("aoe_ext.coalesced.tag", "Tag", base.HEX),
  lba = ProtoField.uint64("aoe_ext.coalesced.lba", "LBA"),
  sectors = ProtoField.uint8("aoe_ext.coalesced.sectors", "Sectors"),
  results = ProtoField.uint8("aoe_ext.results.count", "Further results of writes"),
  result_tag = ProtoField.uint32("aoe_ext.results.tag", "Tag", base.HEX),
  result_flags = ProtoField.uint8("aoe_ext.results.aflags", "AFlags", base.HEX),
  result_error = ProtoField.uint8("aoe_ext.results.error", "Error register", base.HEX),
  result_left = ProtoField.uint8("aoe_ext.results.left", "Sectors left"),
  result_status = ProtoField.uint8("aoe_ext.results.status", "Status register", base.HEX),
  result_lba = ProtoField.uint64("aoe_ext.results.lba", "LBA"),
  mask_command = ProtoField.uint8("aoe_ext.mask.command", "MCmd", base.DEC, MASK_COMMANDS),
  mask_error = ProtoField.uint8("aoe_ext.mask.error", "MError", base.DEC, MASK_ERRORS),
  mask_count = ProtoField.uint8("aoe_ext.mask.count", "Directives"),
  directive = ProtoField.uint8("aoe_ext.mask.directive", "DCmd", base.DEC, DIRECTIVES),
  mask_address = ProtoField.ether("aoe_ext.mask.address", "Address"),
  reserve_command = ProtoField.uint8("aoe_ext.reserve.command", "RCmd", base.DEC, RESERVE_COMMANDS),
  reserve_count = ProtoField.uint8("aoe_ext.reserve.count", "Addresses"),
  reserve_address = ProtoField.ether("aoe_ext.reserve.address", "Address"),
}
ext.fields = f

local malformed = ProtoExpert.new("aoe_ext.malformed", "The list does not fit the frame, or the table "
  .. "does not end in two NULs: a target gives no answer", expert.group.MALFORMED, expert.severity.WARN)
local cut = ProtoExpert.new("aoe_ext.cut", "The capture does not hold the rest: its snaplen cut the frame",
  expert.group.UNDECODED, expert.severity.NOTE)
ext.experts = { malformed, cut }

local TAKES_ARGUMENT = { congestion = true }

-- By "VLAN tags, initiator, target": which features are active. By frame: which were when it came; Wireshark
-- dissects frames again in any order, and only the first time tells the time.
local FEATURES = { COALESCED_READ = "reads", COALESCED_WRITE_REPLY = "writes" }
local active, active_in_frame

function ext.init()
  active, active_in_frame = {}, {}
end

-- The frame from its first byte after any VLAN tags were taken out: returns how many bytes they take.
local function tag_bytes(buffer)
  local at = 12
  while at + 2 <= buffer:len() do
    local kind = buffer(at, 2):uint()
    if kind == AOE_TYPE then
      return at - 12
    elseif not VLAN_TYPES[kind] then
      return nil
    end
    at = at + 4
  end
end

-- Whether the frame had these bytes on the wire, and whether the capture holds them. What the capture lacks
-- is remarked on, not blamed.
local function there(buffer, at, size, tree)
  if at + size <= buffer:len() then
    return true
  end
  tree:add_proto_expert_info(at + size <= buffer:reported_len() and cut or malformed)
  return false
end

local function well_formed(buffer, begin, size)
  return size >= 2 and begin + size <= buffer:len()
    and buffer(begin + size - 1, 1):uint() == 0 and buffer(begin + size - 2, 1):uint() == 0
end

local function dissect_table(buffer, shift, tree, is_reply, pair, first_time)
  if not there(buffer, shift + ARGUMENT, 2, tree) then
    return
  end
  local length = buffer(shift + ARGUMENT, 2)
  local begin = shift + TABLE
  local size, order = length:le_uint(), "little-endian"
  if not well_formed(buffer, begin, size) and well_formed(buffer, begin, length:uint()) then
    size, order = length:uint(), "big-endian"
  end
  local good = well_formed(buffer, begin, size)
  local was_cut = not good and buffer:len() < buffer:reported_len()
    and begin + math.min(size, length:uint()) > buffer:len()
  if was_cut then
    if begin + size > buffer:reported_len() then
      size, order = length:uint(), "big-endian"
    end
  elseif not good then
    order = "neither gives a table"
  end
  tree:add(f.length, length, size)
  tree:add(f.order, length, order)
  if was_cut then
    tree:add_proto_expert_info(cut)
  elseif not good then
    tree:add_proto_expert_info(malformed)
    return
  end
  local at, takes, ends = begin, false, math.min(begin + size, buffer:len())
  while at < ends and buffer(at, 1):uint() ~= 0 do
    local name = buffer(at, ends - at):stringz()
    if at + #name >= ends then
      return -- cut in the middle of a name
    end
    local range = buffer(at, #name + 1)
    if takes then
      tree:add(f.argument, range, name)
      takes = false
    else
      local item = tree:add(f.feature, range, name)
      takes = TAKES_ARGUMENT[name:lower()] or false
      if is_reply then
        local on = name == name:upper()
        item:add(f.active, range, on and "yes" or "no")
        if on and first_time then
          if name == "RESET" then
            active[pair] = nil
          elseif FEATURES[name] then
            active[pair] = active[pair] or {}
            active[pair][FEATURES[name]] = true
          end
        end
      end
    end
    at = at + #name + 1
  end
end

local function dissect_mask(buffer, shift, tree)
  tree:add(f.mask_command, buffer(shift + 25, 1))
  tree:add(f.mask_error, buffer(shift + 26, 1))
  tree:add(f.mask_count, buffer(shift + 27, 1))
  -- After an error the count is the index of the bad directive, not a length.
  local count = buffer(shift + 26, 1):uint() == 0 and buffer(shift + 27, 1):uint() or 0
  for i = 0, count - 1 do
    local at = shift + MASK_LIST + i * DIRECTIVE_BYTES
    if not there(buffer, at, DIRECTIVE_BYTES, tree) then
      return
    end
    tree:add(f.directive, buffer(at + 1, 1))
    tree:add(f.mask_address, buffer(at + 2, MAC_BYTES))
  end
end

local function dissect_reserve(buffer, shift, tree)
  if not there(buffer, shift + 24, 2, tree) then
    return
  end
  tree:add(f.reserve_command, buffer(shift + 24, 1))
  tree:add(f.reserve_count, buffer(shift + 25, 1))
  for i = 0, buffer(shift + 25, 1):uint() - 1 do
    local at = shift + RESERVE_LIST + i * MAC_BYTES
    if not there(buffer, at, MAC_BYTES, tree) then
      return
    end
    tree:add(f.reserve_address, buffer(at, MAC_BYTES))
  end
end

local function dissect_coalesced(buffer, shift, tree)
  tree:add(f.further, buffer(shift + DATA, 1))
  for i = 0, buffer(shift + DATA, 1):uint() - 1 do
    local at = shift + DATA + 1 + i * ENTRY_BYTES
    if not there(buffer, at, ENTRY_BYTES, tree) then
      return
    end
    tree:add(f.tag, buffer(at, 4))
    tree:add_le(f.lba, buffer(at + 4, 6), buffer(at + 4, 6):le_uint64())
    tree:add(f.sectors, buffer(at + 15, 1))
  end
end

-- docs/extensions.md, coalesced_write_reply: results of writes that ended together.
local function dissect_results(buffer, shift, tree)
  tree:add(f.results, buffer(shift + DATA, 1))
  for i = 0, buffer(shift + DATA, 1):uint() - 1 do
    local at = shift + DATA + 1 + i * ENTRY_BYTES
    if not there(buffer, at, ENTRY_BYTES, tree) then
      return
    end
    tree:add(f.result_tag, buffer(at, 4))
    tree:add(f.result_flags, buffer(at + 4, 1))
    tree:add(f.result_error, buffer(at + 5, 1))
    tree:add(f.result_left, buffer(at + 6, 1))
    tree:add(f.result_status, buffer(at + 7, 1))
    tree:add_le(f.result_lba, buffer(at + 8, 6), buffer(at + 8, 6):le_uint64())
  end
end

function ext.dissector(buffer, pinfo, root)
  local shift = tag_bytes(buffer)
  if not shift or buffer:len() < shift + ARGUMENT then
    return
  end
  local flags = buffer(shift + 14, 1):uint() % 16
  local is_reply = flags % (2 * FLAG_RESPONSE) >= FLAG_RESPONSE
  local is_error = flags % (2 * FLAG_ERROR) >= FLAG_ERROR
  local command = buffer(shift + 19, 1):uint()
  local tags = shift > 0 and tostring(buffer(12, shift):bytes()) or "none"
  local target = tostring(buffer(shift + 16, 3):bytes())
  local initiator = tostring(buffer(is_reply and 0 or 6, 6):bytes())
  local pair = tags .. " " .. initiator .. " " .. target
  local first_time = not pinfo.visited
  local rest = buffer:len() > shift + ARGUMENT and buffer(shift + ARGUMENT) or buffer(shift, ARGUMENT)

  if command == ATA then
    if is_error or buffer:len() < shift + DATA + 1 then
      return
    end
    if first_time then
      local ata = buffer(shift + 27, 1):uint()
      local on = active[pair] or {}
      local reads = not is_reply and on.reads and (ata == READ or ata == READ_EXT)
      local writes = is_reply and on.writes and buffer(shift + ARGUMENT, 1):uint() % (2 * AFLAG_WRITE) >= AFLAG_WRITE
      active_in_frame[pinfo.number] = reads and "reads" or writes and "writes" or nil
    end
    local what = active_in_frame[pinfo.number]
    if what and buffer(shift + DATA, 1):uint() > 0 then
      if what == "reads" then
        dissect_coalesced(buffer, shift, root:add(ext, buffer(shift + DATA), "AoE coalesced read"))
      else
        dissect_results(buffer, shift, root:add(ext, buffer(shift + DATA), "AoE results of further writes"))
      end
    end
  elseif command == CONFIG then
    if is_reply and not is_error and first_time and buffer:len() > shift + 29 then
      local ccmd = buffer(shift + 29, 1):uint() % 16
      if ccmd == CONFIG_SET or ccmd == CONFIG_FORCE_SET then
        active[pair] = nil
      end
    end
  elseif command == EXTENSIONS and not is_error then
    dissect_table(buffer, shift, root:add(ext, rest, "AoE extensions"), is_reply, pair, first_time)
  elseif command == MASK and not is_error then
    local tree = root:add(ext, rest, "AoE MAC mask list")
    if there(buffer, shift + ARGUMENT, MASK_LIST - ARGUMENT, tree) then
      dissect_mask(buffer, shift, tree)
    end
  elseif command == RESERVE and not is_error then
    dissect_reserve(buffer, shift, root:add(ext, rest, "AoE reserve list"))
  end
end

register_postdissector(ext)

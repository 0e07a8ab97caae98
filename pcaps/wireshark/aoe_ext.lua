-- What Wireshark's own AoE dissector leaves out: AoEde's extension table (command 0x23), the tail of a
-- coalesced read, the MAC mask list (command 2) and the reserve list (command 3).
--
-- A post-dissector: Wireshark's own fields (aoe.*) stay as they are, these stand beside them (aoe_ext.*).
--   tshark -X lua_script:aoe_ext.lua -r FILE -Y aoe_ext
-- or put the file into Wireshark's folder of personal Lua plugins (Help > About > Folders).

local AOE_TYPE = 0x88A2
local VLAN_TYPES = { [0x8100] = true, [0x88A8] = true, [0x9100] = true }
local FLAG_RESPONSE, FLAG_ERROR = 8, 4
local ATA, MASK, RESERVE, EXTENSIONS = 0, 2, 3, 0x23
local READ, READ_EXT = 0x20, 0x24
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
ext.experts = { malformed }

local TAKES_ARGUMENT = { congestion = true }

-- By "initiator target": is coalesced_read active; and, by frame, whether it was when the frame came.
local coalescing, coalesced_frames

function ext.init()
  coalescing, coalesced_frames = {}, {}
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

local function well_formed(buffer, begin, size)
  return size >= 2 and begin + size <= buffer:len()
    and buffer(begin + size - 1, 1):uint() == 0 and buffer(begin + size - 2, 1):uint() == 0
end

local function dissect_table(buffer, shift, tree, is_reply, pair)
  local length = buffer(shift + ARGUMENT, 2)
  local begin = shift + TABLE
  local size, order = length:le_uint(), "little-endian"
  if not well_formed(buffer, begin, size) then
    size, order = length:uint(), "big-endian"
  end
  local good = well_formed(buffer, begin, size)
  if not good then
    size, order = length:le_uint(), "neither gives a table"
  end
  tree:add(f.length, length, size)
  tree:add(f.order, length, order)
  if not good then
    tree:add_proto_expert_info(malformed)
    return
  end
  local at, takes = begin, false
  while at < begin + size and buffer(at, 1):uint() ~= 0 do
    local name = buffer(at):stringz()
    local range = buffer(at, #name + 1)
    if takes then
      tree:add(f.argument, range, name)
      takes = false
    else
      local item = tree:add(f.feature, range, name)
      takes = TAKES_ARGUMENT[name:lower()] or false
      if is_reply then
        local active = name == name:upper()
        item:add(f.active, range, active and "yes" or "no")
        if active and name == "RESET" then
          coalescing[pair] = nil
        elseif active and name == "COALESCED_READ" then
          coalescing[pair] = true
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
    if at + DIRECTIVE_BYTES > buffer:len() then
      tree:add_proto_expert_info(malformed)
      return
    end
    tree:add(f.directive, buffer(at + 1, 1))
    tree:add(f.mask_address, buffer(at + 2, MAC_BYTES))
  end
end

local function dissect_reserve(buffer, shift, tree)
  tree:add(f.reserve_command, buffer(shift + 24, 1))
  tree:add(f.reserve_count, buffer(shift + 25, 1))
  for i = 0, buffer(shift + 25, 1):uint() - 1 do
    local at = shift + RESERVE_LIST + i * MAC_BYTES
    if at + MAC_BYTES > buffer:len() then
      tree:add_proto_expert_info(malformed)
      return
    end
    tree:add(f.reserve_address, buffer(at, MAC_BYTES))
  end
end

local function dissect_coalesced(buffer, shift, tree)
  tree:add(f.further, buffer(shift + DATA, 1))
  for i = 0, buffer(shift + DATA, 1):uint() - 1 do
    local at = shift + DATA + 1 + i * ENTRY_BYTES
    if at + ENTRY_BYTES > buffer:len() then
      tree:add_proto_expert_info(malformed)
      return
    end
    tree:add(f.tag, buffer(at, 4))
    tree:add_le(f.lba, buffer(at + 4, 6), buffer(at + 4, 6):le_uint64())
    tree:add(f.sectors, buffer(at + 15, 1))
  end
end

function ext.dissector(buffer, pinfo, root)
  local shift = tag_bytes(buffer)
  if not shift or buffer:len() < shift + ARGUMENT + 2 then
    return
  end
  local flags = buffer(shift + 14, 1):uint() % 16
  local is_reply = flags % (2 * FLAG_RESPONSE) >= FLAG_RESPONSE
  local is_error = flags % (2 * FLAG_ERROR) >= FLAG_ERROR
  local command = buffer(shift + 19, 1):uint()
  local target = tostring(buffer(shift + 16, 3):bytes())
  local initiator = tostring(buffer(is_reply and 0 or 6, 6):bytes())
  local pair = initiator .. " " .. target

  if command == ATA then
    if is_reply or buffer:len() < shift + DATA + 1 then
      return
    end
    local ata = buffer(shift + 27, 1):uint()
    if not pinfo.visited then
      coalesced_frames[pinfo.number] = (ata == READ or ata == READ_EXT) and coalescing[pair]
    end
    if coalesced_frames[pinfo.number] and buffer(shift + DATA, 1):uint() > 0 then
      dissect_coalesced(buffer, shift, root:add(ext, buffer(shift + DATA), "AoE coalesced read"))
    end
  elseif command == EXTENSIONS and not is_error then
    dissect_table(buffer, shift, root:add(ext, buffer(shift + ARGUMENT), "AoE extensions"), is_reply, pair)
  elseif command == MASK and not is_error and buffer:len() >= shift + MASK_LIST then
    dissect_mask(buffer, shift, root:add(ext, buffer(shift + ARGUMENT), "AoE MAC mask list"))
  elseif command == RESERVE then
    dissect_reserve(buffer, shift, root:add(ext, buffer(shift + ARGUMENT), "AoE reserve list"))
  end
end

register_postdissector(ext)

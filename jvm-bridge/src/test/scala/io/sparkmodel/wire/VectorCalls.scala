// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.ByteArrayInputStream
import java.nio.ByteBuffer
import java.nio.channels.Channels
import java.util.HexFormat

import scala.collection.mutable
import scala.jdk.CollectionConverters._
import scala.util.Using

import com.fasterxml.jackson.databind.JsonNode
import org.apache.arrow.memory.RootAllocator
import org.apache.arrow.vector.{ValueVector, VectorLoader, VectorSchemaRoot}
import org.apache.arrow.vector.complex.StructVector
import org.apache.arrow.vector.ipc.ReadChannel
import org.apache.arrow.vector.ipc.message.MessageSerializer

/** Bytes to their meaning and back, for the test vectors. */
object VectorCalls {

  def answer(operation: String, a: JsonNode): Any = operation match {
    case "preface" =>
      Frames.checkPreface(hex(a), "test")
      val mine = ByteBuffer.allocate(Frames.PrefaceBytes)
      Frames.putPreface(mine)
      text(mine.flip())
    case "request" =>
      val head = ByteBuffer.allocate(Frames.RequestBytes)
      val length = a.required("length").asLong
      val seq = a.required("seq").asLong.toInt
      Frames.putRequest(head, a.required("type").asInt, seq, a.required("budget_ms").asLong, length)
      text(head.flip())
    case "proofs" =>
      def bytes(key: String) = a.required(key).binaryValue
      val (client, server) = (bytes("nonce_of_client"), bytes("nonce_of_server"))
      val (key, claims) = (bytes("key"), a.required("claims").asText)
      Seq(Proofs.server(key, client, server, claims), Proofs.client(key, client, server, claims))
        .map(java.util.Base64.getEncoder.encodeToString(_)).asJava
    case "open" =>
      new String(ClientMain.stream(a).toJson, "UTF-8")
    case "answers" => answers(hex(a)).asJava
    case "error" => throw ModelException.read(Frames.json(hex(a), "test"))
    case "json" => Frames.json(hex(a), "test")
    case "check" => Payload.check(hex(a), a.required("rows").asInt, "test")
    case "values" => values(a)
    case "serialized" => serialized(hex(a))
    case other => throw new IllegalArgumentException(s"no operation '$other'")
  }

  private def hex(a: JsonNode): ByteBuffer = ByteBuffer.wrap(HexFormat.of.parseHex(a.required("hex").asText))

  private def text(buffer: ByteBuffer): String = {
    val bytes = new Array[Byte](buffer.remaining)
    buffer.get(bytes)
    HexFormat.of.formatHex(bytes)
  }

  /** All answers in a row, after a preface if there is one. */
  private def answers(bytes: ByteBuffer): Seq[Any] = {
    if (bytes.remaining >= Frames.PrefaceBytes && bytes.duplicate().get() == 'S') Frames.checkPreface(bytes, "test")
    val found = mutable.Buffer.empty[Any]
    while (bytes.hasRemaining) {
      val head = Frames.readHead(bytes, "test")
      val payload = bytes.slice(bytes.position(), head.length.toInt)
      bytes.position(bytes.position() + head.length.toInt)
      found += Map[String, Any](
        "status" -> head.status,
        "seq" -> Integer.toUnsignedLong(head.seq),
        "incarnation" -> head.revision.incarnation,
        "number" -> head.revision.number,
        "queue_us" -> head.queueUs,
        "predict_us" -> head.predictUs,
        "load" -> head.load,
        "length" -> head.length,
        "payload" -> text(payload)).asJava
    }
    found.toSeq
  }

  /** The exception of an error, written and read again as Java does it. */
  private def serialized(bytes: ByteBuffer): Any = {
    val error = ModelException.read(Frames.json(bytes, "test"))
    val out = new java.io.ByteArrayOutputStream()
    Using.resource(new java.io.ObjectOutputStream(out))(_.writeObject(error))
    throw new java.io.ObjectInputStream(new ByteArrayInputStream(out.toByteArray))
      .readObject().asInstanceOf[ModelException]
  }

  /** The values of a batch by column, as Arrow for Java reads them and the vectors spell them. */
  private def values(a: JsonNode): Any = {
    def channel(bytes: Array[Byte]) = new ReadChannel(Channels.newChannel(new ByteArrayInputStream(bytes)))
    val schema = MessageSerializer.deserializeSchema(channel(a.required("schema").binaryValue))
    Using.resource(new RootAllocator()) { allocator =>
      Using.resource(VectorSchemaRoot.create(schema, allocator)) { root =>
        Using.resource(MessageSerializer.deserializeRecordBatch(channel(hex(a).array), allocator)) { batch =>
          new VectorLoader(root).load(batch)
        }
        root.getFieldVectors.asScala.map { vector =>
          (0 until vector.getValueCount).map(spell(vector, _)).asJava
        }.asJava
      }
    }
  }

  def spell(vector: ValueVector, row: Int): Any = vector match {
    case struct: StructVector if !struct.isNull(row) => // its own objects leave out what is null
      struct.getChildrenFromFields.asScala.map(child => child.getName -> spell(child, row)).toMap.asJava
    case other => spell(other.getObject(row))
  }

  private def spell(value: Any): Any = value match {
    case bytes: Array[Byte] => HexFormat.of.formatHex(bytes)
    case number: Double if number.isNaN || number.isInfinite => number.toString
    case list: java.util.List[_] => list.asScala.map(spell).asJava
    case text: org.apache.arrow.vector.util.Text => text.toString
    case other => other
  }
}

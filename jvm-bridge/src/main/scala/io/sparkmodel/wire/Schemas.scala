// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{ByteArrayInputStream, ByteArrayOutputStream, IOException}
import java.nio.channels.Channels
import java.util.Base64

import org.apache.arrow.vector.ipc.{ReadChannel, WriteChannel}
import org.apache.arrow.vector.ipc.message.MessageSerializer
import org.apache.arrow.vector.types.pojo.Schema

/** Arrow schemas as texts, which handles and the protocol have them as: the base64 of an IPC message. */
object Schemas {
  def read(text: String): Schema =
    MessageSerializer.deserializeSchema(
      new ReadChannel(Channels.newChannel(new ByteArrayInputStream(Base64.getDecoder.decode(text)))))

  /** The schema in an answer, of one column: a text that is none must not get further than here. */
  private[wire] def checked(text: String, what: String): String = {
    val columns =
      try read(text).getFields.size
      catch { case e @ (_: RuntimeException | _: IOException) =>
        throw Frames.broken(what, s"the schema of the answers cannot be read: ${e.getMessage}", e)
      }
    if (columns != 1) throw Frames.broken(what, s"answers of one column were asked, not of $columns")
    text
  }

  def textOf(schema: Schema): String = {
    val bytes = new ByteArrayOutputStream
    MessageSerializer.serialize(new WriteChannel(Channels.newChannel(bytes)), schema)
    Base64.getEncoder.encodeToString(bytes.toByteArray)
  }
}

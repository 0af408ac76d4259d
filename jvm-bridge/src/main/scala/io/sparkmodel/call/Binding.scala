// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import io.sparkmodel.wire.Handle
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.types.{DataType, StructType}

/**
 * Puts the arguments of a call in the order of a model's inputs, by name where names exist.
 *
 * Names count where the arguments are named (`a => x`), where the only one is a struct, and where all are columns whose
 * names are exactly the signature's. Other calls go by position; one in which a column stands where the model takes
 * another, and has the name of a third, is refused.
 */
object Binding {

  def apply(handle: Handle, arguments: Seq[Expression]): Seq[Expression] = {
    val named = arguments.collect { case argument: NamedArgumentExpression => argument }
    val inputs = Signatures.of(handle)
    if (named.nonEmpty && named.size < arguments.size) throw someNamed(handle, inputs, named.map(_.key))
    if (named.nonEmpty) byName(handle, inputs, named.map(argument => argument.key -> argument.value), isStrict = true)
    else (arguments, inputs) match {
      case (Seq(struct: CreateNamedStruct), Some(_)) if !isTensor(handle) =>
        byName(handle, inputs, struct.names.map(_.toString).zip(struct.valExprs), isStrict = false)
      case (_, Some(known)) if !isTensor(handle) && !isLikeMlflow(handle) => reorder(handle, known, arguments)
      case _ => arguments
    }
  }

  private def someNamed(handle: Handle, inputs: Option[Seq[Input]], keys: Seq[String]): ModelAnalysisException = {
    val known = inputs.toSeq.flatten.flatMap(_.name)
    keys.find(key => known.nonEmpty && !known.exists(_.equalsIgnoreCase(key))).fold(
      mismatch(handle, "some arguments are named and some are not", "name all of them")) { key =>
      mismatch(
        handle, s"it has no input '$key', and ML_PREDICT no option", ModelAnalysisException.suggest(key, known ++ CallSettings.Keys))
    }
  }

  private def isTensor(handle: Handle): Boolean = handle.contract.inputs.exists(_.hasTensors)

  private def isLikeMlflow(handle: Handle): Boolean = handle.contract.inputs.exists(_.likeMlflow)

  private def byName(
      handle: Handle,
      inputs: Option[Seq[Input]],
      values: Seq[(String, Expression)],
      isStrict: Boolean): Seq[Expression] = inputs match {
    case Some(known) if known.forall(_.name.isDefined) && !isTensor(handle) =>
      val names = known.flatMap(_.name)
      if (isStrict) values.find { case (key, _) => find(names.map(_ -> ()), key).isEmpty }.foreach { case (key, _) =>
        throw mismatch(handle, s"it has no input '$key'", ModelAnalysisException.suggest(key, names))
      }
      names.find(isTwice(values.map(_._1), _)).foreach { name =>
        throw mismatch(handle, s"column '$name' is there twice", s"name the one, as in ${handle.name}($name => t.$name, ...)")
      }
      val found = known.map(input => input -> find(values, input.name.get))
      found.collectFirst { case (input, None) if input.required => input.name.get }.foreach { name =>
        val names = values.map(_._1).filter(_.nonEmpty)
        throw mismatch(
          handle,
          s"column '$name' is missing; the model takes (${known.mkString(", ")}), given are ${names.mkString("['", "', '", "']")}",
          missing(name, names))
      }
      if (found.forall(_._2.isDefined)) found.map(_._2.get) // plain columns: a struct would have to be taken apart
      else Seq(struct(found.collect { case (input, Some(value)) => input.name.get -> value }))
    case Some(known) if !isTensor(handle) && !isStrict && known.size == values.size => values.map(_._2)
    case _ => Seq(struct(values))
  }

  private def isTwice(names: Seq[String], name: String): Boolean = {
    val exact = names.count(_ == name)
    exact > 1 || exact == 0 && names.count(_.equalsIgnoreCase(name)) > 1
  }

  private def find[T](values: Seq[(String, T)], name: String): Option[T] =
    values.collectFirst { case (key, value) if key == name => value }.orElse {
      values.filter(_._1.equalsIgnoreCase(name)) match {
        case Seq((_, value)) => Some(value)
        case _ => None
      }
    }

  private def struct(values: Seq[(String, Expression)]): Expression =
    CreateNamedStruct(values.flatMap { case (name, value) => Seq(Literal(name), value) })

  private def reorder(handle: Handle, inputs: Seq[Input], arguments: Seq[Expression]): Seq[Expression] = {
    val wanted = inputs.map(_.name.map(_.toLowerCase))
    val called = arguments.map(nameOf(_).map(_.toLowerCase))
    if (wanted.contains(None) || wanted.distinct.size < wanted.size || called.flatten.distinct.size < called.flatten.size)
      arguments
    else if (called.toSet == wanted.toSet) wanted.map(name => arguments(called.indexOf(name)))
    else {
      called.zip(wanted).collectFirst {
        case (Some(name), other) if !other.contains(name) && wanted.contains(Some(name)) => name
      }.foreach { name =>
        throw mismatch(
          handle,
          s"column '$name' is input ${wanted.indexOf(Some(name)) + 1} of the model by its name, and argument " +
            s"${called.indexOf(Some(name)) + 1} of the call by its position",
          s"name the arguments, as in ${handle.name}(${inputs.head.name.get} => ...), or pass struct(*)")
      }
      arguments
    }
  }

  private def nameOf(argument: Expression): Option[String] = argument match {
    case field: GetStructField => field.name
    case column: NamedExpression if column.resolved => Some(column.name)
    case _ => None
  }

  private[call] def missing(name: String, names: Seq[String]): String =
    ModelAnalysisException.suggest(name, names, Some(s"give a column of the name '$name'"))

  private[call] def mismatch(handle: Handle, fact: String, hint: String): ModelAnalysisException =
    ModelAnalysisException("SCHEMA_MISMATCH", s"Cannot call model '${handle.name}'", fact, hint)
}

/** Whether resolved arguments fit, by number and type, the inputs of a model: what a worker would find at the first batch. */
object Fit {

  def check(handle: Handle, arguments: Seq[Expression]): Unit = Signatures.of(handle) match {
    case None if arguments.isEmpty => throw Binding.mismatch(
      handle, "no columns were given, and the model has no signature that names them", "name the columns")
    case Some(inputs) if !handle.contract.inputs.exists(i => i.hasTensors || i.likeMlflow) => check(handle, inputs, arguments)
    case _ =>
  }

  private def check(handle: Handle, inputs: Seq[Input], arguments: Seq[Expression]): Unit = arguments match {
    case Seq(one) if isStruct(one) => checkStruct(handle, inputs, one.dataType.asInstanceOf[StructType])
    case Seq(one) if inputs.size > 1 && Signatures.isRowOfNumbers(one.dataType) =>
      inputs.foreach(checkType(handle, _, Signatures.elementOf(one.dataType)))
    case _ =>
      if (arguments.size < inputs.count(_.required) || arguments.size > inputs.size)
        throw Binding.mismatch(
          handle,
          s"the model takes ${inputs.size} columns (${inputs.mkString(", ")}), given are ${arguments.size}: " +
            arguments.map(_.dataType.sql).mkString("(", ", ", ")"),
          "pass the columns in the model's order, or one struct with the model's column names")
      inputs.zip(arguments).foreach { case (input, argument) => checkType(handle, input, argument.dataType) }
  }

  private def isStruct(argument: Expression): Boolean = argument.dataType.isInstanceOf[StructType]

  private def checkStruct(handle: Handle, inputs: Seq[Input], row: StructType): Unit =
    if (inputs.forall(_.name.isDefined)) inputs.foreach { input =>
      val name = input.name.get
      row.fields.find(_.name == name) match {
        case Some(field) => checkType(handle, input, field.dataType)
        case None if input.required => throw Binding.mismatch(
          handle,
          s"column '$name' is missing; the model takes (${inputs.mkString(", ")}), " +
            s"given are ${row.fieldNames.mkString("['", "', '", "']")}",
          Binding.missing(name, row.fieldNames.toSeq))
        case None =>
      }
    }

  private def checkType(handle: Handle, input: Input, from: DataType): Unit =
    input.dataType.filterNot(Signatures.canWiden(from, _)).foreach { wanted =>
      val column = input.name.fold("a column")(name => s"column '$name'")
      throw Binding.mismatch(handle, s"$column is ${from.sql}, the model takes ${wanted.sql}", s"cast it to ${wanted.sql}")
    }
}
